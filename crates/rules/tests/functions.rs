//! Each rule has its functions, and each function says whose it is.

use bifolio_rules::Rule;

const SOURCES: [&str; 5] = [
    include_str!("../src/judge/forming.rs"),
    include_str!("../src/judge/freeing.rs"),
    include_str!("../src/judge/memory.rs"),
    include_str!("../src/judge/references.rs"),
    include_str!("../src/judge/transaction.rs"),
];

/// Name and first line of documentation of each function that judges.
fn functions() -> impl Iterator<Item = (&'static str, &'static str)> {
    SOURCES.iter().flat_map(|source| source.split("\n\n")).filter_map(|item| {
        let name = item.split_once("\npub fn ")?.1.split(['(', '<']).next()?;
        Some((name, item.trim_start().lines().next()?))
    })
}

/// The rules that a line of documentation begins with.
fn rules(line: &str) -> Vec<Rule> {
    let words = line.trim_start_matches("/// ").split([' ', ':']);
    let numbers = words.map_while(|word| word.strip_prefix('I')?.trim_end_matches(',').parse().ok());
    numbers.filter_map(Rule::new).collect()
}

#[test]
fn every_rule_has_a_function() {
    for rule in Rule::all() {
        assert!(functions().any(|(_, line)| rules(line).contains(&rule)), "{rule} has no function");
    }
}

#[test]
fn every_function_is_named_for_its_rule_or_judges_several() {
    for (name, line) in functions() {
        let rules = rules(line);
        let named = |rule: &Rule| name.starts_with(&format!("i{}_", rule.number()));
        assert!(rules.len() > 1 || rules.first().is_some_and(named), "{name}: {line}");
    }
}
