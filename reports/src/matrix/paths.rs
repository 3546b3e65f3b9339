//! Keeps the machine that made a matrix out of it: what broke on a host is told with its paths and mirrors, and a page that
//! is checked in is read by everybody.

/// First parts of paths that are the same everywhere.
const KNOWN: [&str; 3] = ["/dev/", "/sys/", "/proc/"];

/// `text` with each path and address cut down to its last part.
pub(super) fn hidden(text: &str) -> String {
    text.split_inclusive(char::is_whitespace).map(word).collect()
}

fn word(word: &str) -> String {
    let is_path = |c: char| c.is_alphanumeric() || "/._-+~%:@".contains(c);
    let begin = word.find(is_path).unwrap_or(word.len());
    let (before, rest) = word.split_at(begin);
    let end = rest.find(|c: char| !is_path(c)).unwrap_or(rest.len());
    let (path, after) = rest.split_at(end);
    let known = KNOWN.iter().any(|known| path.starts_with(known));
    if known || !(path.starts_with('/') || path.contains("://")) {
        return word.to_owned();
    }
    let bare = path.trim_end_matches([':', '.', '/']);
    let last = bare.rsplit('/').next().unwrap_or_default();
    format!("{before}\u{2026}/{last}{}{after}", &path[bare.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_part_of_a_path_is_told() {
        for (text, told) in [
            ("read /home/me/x.json: gone", "read \u{2026}/x.json: gone"),
            ("(its config is /a/b/config): use", "(its config is \u{2026}/config): use"),
            ("fetch http://mirror.example/debian/pool/x.deb failed", "fetch \u{2026}/x.deb failed"),
            ("open /dev/ublkc0 and /proc/misc", "open /dev/ublkc0 and /proc/misc"),
            ("2/3 of a/b, `/x`", "2/3 of a/b, `\u{2026}/x`"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(hidden(text), told);
        }
    }
}
