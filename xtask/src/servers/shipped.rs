//! The adapters of this tree, by name. They are in the program, so that they are there wherever it is.

/// Name and text of each.
const SHIPPED: &[(&str, &str)] = &[
    ("ublk", include_str!("../../adapters/ublk.toml")),
    ("kublk", include_str!("../../adapters/kublk.toml")),
    ("rublk", include_str!("../../adapters/rublk.toml")),
    ("libublk", include_str!("../../adapters/libublk.toml")),
];

/// The text of the adapter called `name`.
pub(super) fn text(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(own, _)| *own == name).map(|(_, text)| *text)
}

/// The names, for a message.
pub(super) fn names() -> String {
    SHIPPED.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::Typed;
    use super::*;

    #[test]
    fn each_is_sound_and_named_as_it_is_called() {
        for (name, _) in SHIPPED {
            let typed = Typed::read(name).unwrap();
            assert_eq!(typed.adapter.name, *name);
            assert!(typed.adapter.program.source.is_some(), "{name}");
        }
    }

    /// Broken adapters are broken at work, and mutants where their comments say: both have to be readable.
    #[test]
    fn those_that_are_wrong_on_purpose_can_be_read() {
        let folder = crate::workspace::root().join("xtask/adapters");
        for (name, seen_by) in [("broken", false), ("mutants", true)] {
            for entry in std::fs::read_dir(folder.join(name)).unwrap() {
                let path = entry.unwrap().path();
                Typed::read(path.to_str().unwrap()).unwrap();
                let text = std::fs::read_to_string(&path).unwrap();
                let seen: Vec<&str> =
                    text.lines().filter_map(|line| line.strip_prefix("# seen: ")).collect();
                assert_eq!(seen.is_empty(), !seen_by, "{}", path.display());
                for id in seen {
                    assert!(scenarios::catalogue::find(id).is_some(), "{id}");
                }
            }
        }
    }
}
