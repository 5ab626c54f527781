//! The hosts file (hosts(5)).

use std::net::IpAddr;

/// The addresses of a name, in the order of the file. Lines that cannot be read are skipped.
pub(super) fn addresses(file: &str, name: &str) -> Vec<IpAddr> {
    let lines = file.lines().filter_map(|line| {
        let line = line.split('#').next()?;
        let mut words = line.split_ascii_whitespace();
        let address = words.next()?.parse::<IpAddr>().ok()?;
        let listed = words.any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(name));
        listed.then_some(address)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_any_column_and_case() {
        let file = "# cloud.com\n127.0.0.1 localhost\n10.1.1.1\tCloud.com. cloud # x\n::1 cloud.com\nbad cloud.com\n10.1.1.2 other #cloud.com\n";
        let found: Vec<String> = addresses(file, "cloud.com")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, ["10.1.1.1", "::1"]);
        assert_eq!(addresses(file, "cloud").len(), 1);
        assert!(addresses(file, "10.1.1.1").is_empty());
    }
}
