//! Each rule has its function, and each function says whose it is.

use bifolio_rules::Rule;

const SOURCES: [&str; 4] = [
    include_str!("../src/facts/bytes.rs"),
    include_str!("../src/facts/counts.rs"),
    include_str!("../src/facts/life.rs"),
    include_str!("../src/facts/transaction.rs"),
];

/// Name and first line of documentation of each public function of the facts.
fn functions() -> impl Iterator<Item = (&'static str, &'static str)> {
    SOURCES.iter().flat_map(|source| source.split("\n\n")).filter_map(|item| {
        let name = item.split_once("\npub fn ")?.1.split(['(', '<']).next()?;
        Some((name, item.trim_start().lines().next()?))
    })
}

#[test]
fn every_rule_has_a_function() {
    for rule in Rule::all() {
        let name = format!("i{}", rule.number());
        let of_rule = |found: &str| {
            found == name || found.strip_prefix(&name).is_some_and(|rest| rest.starts_with('_'))
        };
        assert!(functions().any(|(found, _)| of_rule(found)), "{rule} has no function");
    }
}

#[test]
fn every_function_begins_its_documentation_with_its_rule() {
    let mut seen = 0;
    for (name, line) in functions() {
        let number = name[1..].split('_').next().expect("a first part");
        let named =
            line.strip_prefix(&format!("/// I{number}")).is_some_and(|rest| rest.starts_with([':', ',']));
        assert!(named, "{name}: {line}");
        seen += 1;
    }
    assert!(seen >= 27, "{seen} functions found");
}
