//! Bugs of the kernel's driver that a user can run into, by release. Each was seen here in a virtual
//! machine; docs/kernel-facts.md has the story.

/// `major.minor.patch` of a kernel's release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Release(pub(super) u32, pub(super) u32, pub(super) u32);

impl Release {
    /// Reads `7.3.4+deb13-cloud-amd64` or `7.3-cloud-amd64`, as `uname -r` prints them.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut numbers = text[..end].split('.').map(str::parse::<u32>);
        let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Self(major, minor, numbers.next().and_then(Result::ok).unwrap_or(0)))
    }
}

/// A bug, and the releases that have it: from the first to the last, both included.
#[derive(Debug)]
pub(super) struct KnownBug {
    from: Release,
    to: Release,
    /// Whether it makes the driver useless, or only bites who does something unusual.
    pub(super) fatal: bool,
    pub(super) what: &'static str,
    pub(super) remedy: &'static str,
}

const KNOWN: &[KnownBug] = &[
    KnownBug {
        from: Release(6, 18, 0),
        to: Release(6, 18, 8),
        fatal: true,
        what: "the first ADD_DEV dereferences NULL and oopses (seen on 6.18.5)",
        remedy: "boot 6.18.9 or later before adding a device",
    },
    KnownBug {
        from: Release(6, 16, 0),
        to: Release(6, 16, u32::MAX),
        fatal: false,
        what: "a FETCH without a buffer on a copy-mode device is lost, and a WARNING follows when its ring \
               is closed (only a faulty server sends one)",
        remedy: "boot 6.17 or later to develop servers",
    },
    KnownBug {
        from: Release(6, 0, 0),
        to: Release(6, 19, u32::MAX),
        fatal: false,
        what: "START_DEV reads partitions before it returns: a server killed in that moment waits for itself \
               for ever (seen on 6.12)",
        remedy: "boot 7.0 or later, or let servers start before they are killed",
    },
    KnownBug {
        from: Release(6, 16, 0),
        to: Release(6, 19, u32::MAX),
        fatal: false,
        what: "UPDATE_SIZE of a device that is not started dereferences NULL (`ublk resize` sends none)",
        remedy: "boot 7.0 or later to develop servers",
    },
    KnownBug {
        from: Release(6, 12, 0),
        to: Release(6, 19, u32::MAX),
        fatal: false,
        what: "a server that dies while it takes a device over keeps it open for ever (seen on 6.12 to 6.18)",
        remedy: "boot 7.0 or later, or let servers finish before they are killed",
    },
];

/// What is known of that release.
pub(super) fn of(release: Release) -> impl Iterator<Item = &'static KnownBug> {
    KNOWN.iter().filter(move |bug| (bug.from..=bug.to).contains(&release))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_as_uname_prints_them() {
        assert_eq!(Release::parse("6.12.107+deb13-cloud-amd64"), Some(Release(6, 12, 107)));
        assert_eq!(Release::parse("7.3-cloud-amd64"), Some(Release(7, 3, 0)));
        assert_eq!(Release::parse("6"), None);
    }

    #[test]
    fn a_bug_ends_with_the_release_that_repairs_it() {
        let fatal = |text| of(Release::parse(text).unwrap()).any(|bug| bug.fatal);
        assert!(fatal("6.18.5+deb14-amd64") && fatal("6.18.0") && fatal("6.18.8"));
        assert!(!fatal("6.18.9") && !fatal("6.17.13") && !fatal("7.3.4"));
        assert_eq!(of(Release(6, 16, 3)).count(), 4);
        assert_eq!(of(Release(6, 12, 117)).count(), 2);
        assert_eq!(of(Release(7, 3, 4)).count(), 0);
    }
}
