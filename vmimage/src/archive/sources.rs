//! Reads apt's source lists. The machine's administrator has already said which mirror to use and
//! which key signs it; asking again, or carrying a host name of our own, would be wrong somewhere.

/// One archive entry of a machine's apt configuration, or of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Base URIs, each the part before `dists/`.
    pub uris: Vec<String>,
    /// Suites below `dists/`.
    pub suites: Vec<String>,
    /// Components (`main`).
    pub components: Vec<String>,
    /// The value of `Signed-By`: key files, fingerprints, or an inline key block with its lines.
    pub signed_by: Option<String>,
}

impl Source {
    /// This source as a deb822 stanza for `architecture`, ending in an empty line.
    pub fn stanza(&self, architecture: &str) -> String {
        let mut text = format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: {}\nArchitectures: {architecture}\n",
            self.uris.join(" "),
            self.suites.join(" "),
            self.components.join(" "),
        );
        if let Some(signed_by) = &self.signed_by {
            text.push_str(&format!("Signed-By: {signed_by}\n"));
        }
        text.push('\n');
        text
    }
}

/// Reads a deb822 `*.sources` file; stanzas that are disabled, broken or for sources only are
/// skipped, as apt itself reports those to the administrator.
pub fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut stanza: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(source_of(&stanza));
            stanza.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanza.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            stanza.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

fn source_of(stanza: &[(String, String)]) -> Option<Source> {
    let raw = |name: &str| stanza.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let words = |name: &str| -> Vec<String> {
        raw(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let enabled = raw("enabled").is_none_or(|v| !matches!(v.as_str(), "no" | "false" | "0"));
    let (uris, suites) = (words("uris"), words("suites"));
    if !enabled
        || !words("types").iter().any(|t| t == "deb")
        || uris.is_empty()
        || suites.is_empty()
    {
        return None;
    }
    Some(Source { uris, suites, components: words("components"), signed_by: raw("signed-by") })
}

/// Reads a one-line-style `*.list` file: `deb [option=value …] uri suite component…`.
pub fn parse_one_line(text: &str) -> Vec<Source> {
    text.lines().filter_map(one_line).collect()
}

fn one_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let mut rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t']) {
        return None;
    }
    rest = rest.trim_start();
    let mut signed_by = None;
    if let Some(bracketed) = rest.strip_prefix('[') {
        let (options, after) = bracketed.split_once(']')?;
        signed_by = options
            .split_whitespace()
            .find_map(|o| o.strip_prefix("signed-by="))
            .map(|v| v.replace(',', " "));
        rest = after;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    let (uri, suite) = (words.next()?, words.next()?);
    Some(Source { uris: vec![uri], suites: vec![suite], components: words.collect(), signed_by })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "\
Types: deb deb-src
# a comment in the middle
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
Enabled: no
URIs: http://other.example/x
Suites: bookworm
Components: main

Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm
Components: main
";

    #[test]
    fn deb822_keeps_enabled_binary_stanzas() {
        let sources = parse_deb822(DEBIAN);
        assert_eq!(sources.len(), 1);
        assert_eq!(sources[0].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(
            sources[0].signed_by.as_deref(),
            Some("/usr/share/keyrings/debian-archive-keyring.gpg")
        );
    }

    #[test]
    fn ubuntu_deb822_with_two_archives_and_an_inline_key() {
        let sources = parse_deb822(
            "Types: deb\nURIs: http://a.example/ubuntu/\nSuites: noble noble-updates noble-backports\n\
             Components: main universe restricted multiverse\n\
             Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg\n\n\
             Types: deb\nURIs: http://s.example/ubuntu/\nSuites: noble-security\nComponents: main universe\n\
             Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----\n",
        );
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].suites.len(), 3);
        let key = sources[1].signed_by.as_deref().unwrap();
        assert!(key.starts_with("\n -----BEGIN") && key.contains("\n .\n abc"), "{key:?}");
        // What is written is read back as the same.
        assert_eq!(parse_deb822(&sources[1].stanza("amd64")), vec![sources[1].clone()]);
    }

    #[test]
    fn one_line_style() {
        let sources = parse_one_line(
            "# deb http://no.example/debian trixie main\n\
             deb http://a.example/debian trixie main contrib # why\n\
             deb-src http://a.example/debian trixie main\n\
             deb [arch=amd64 signed-by=/k/a.gpg,/k/b.gpg] mirror+file:/etc/apt/mirrors.txt noble-updates main\n\
             deb [broken http://a.example/debian\n",
        );
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].components, ["main", "contrib"]);
        assert_eq!(sources[0].signed_by, None);
        assert_eq!(sources[1].uris, ["mirror+file:/etc/apt/mirrors.txt"]);
        assert_eq!(sources[1].signed_by.as_deref(), Some("/k/a.gpg /k/b.gpg"));
    }
}
