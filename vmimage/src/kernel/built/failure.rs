//! Why there is no kernel, in one line each: a build has hundreds of ways to end, and the reader wants the
//! package to install or the line to look at.

use std::path::PathBuf;

/// Why a kernel was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Programs that cannot be fetched, because they have to fit the machine.
    #[error("a kernel cannot be built here: {} missing: apt-get install {}", are(tools), packages.join(" "))]
    NoTool {
        /// The programs.
        tools: Vec<&'static str>,
        /// The packages that have them.
        packages: Vec<&'static str>,
    },
    /// The archive has no such tool for this machine.
    #[error(
        "a kernel cannot be built here: {what} is missing, and {family} has no package {what}: apt-get install bc bison flex libelf-dev"
    )]
    NoPackage {
        /// The package.
        what: String,
        /// The family that was asked.
        family: String,
    },
    /// The series has no such option, or something stands against it.
    #[error("the sources of {tree} cannot be configured like this: {} did not come true", options.join(", "))]
    Config {
        /// The tree.
        tree: String,
        /// The lines that were asked for.
        options: Vec<String>,
    },
    /// `make` or `tar` ended badly.
    #[error("{step} failed: {reason}; the whole output is in {}", log.display())]
    Failed {
        /// What was being done.
        step: &'static str,
        /// The first line that looks like the reason.
        reason: String,
        /// All output.
        log: PathBuf,
    },
}

fn are(tools: &[&str]) -> String {
    format!("{} {}", tools.join(", "), if tools.len() == 1 { "is" } else { "are" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_to_install_is_named() {
        let error = BuildError::NoTool { tools: vec!["make"], packages: vec!["make"] };
        let told = error.to_string();
        assert_eq!(told, "a kernel cannot be built here: make is missing: apt-get install make");
    }
}
