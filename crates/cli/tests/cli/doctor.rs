//! `doctor`: its table and its JSON agree, and its exit code says whether the device works.

use crate::command::bifolio;

#[test]
fn exit_code_says_whether_the_device_works() {
    let ran = bifolio(&["doctor", "--json"]);
    let works = ran.json()["works"].as_bool().expect("a yes or no");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(if works { 0 } else { 3 }), ""));
}

/// The cells of the line that begins with a name.
fn cells<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let line = text.lines().find(|line| line.trim_start().starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    line.trim_start().split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect()
}

#[test]
fn text_says_first_whether_bifolio_works_and_lists_what_does_not() {
    let text = bifolio(&["doctor"]).stdout;
    let json = bifolio(&["doctor", "--json"]).json();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let abilities = json["abilities"].as_array().expect("a list");
    let limits = abilities.iter().filter(|ability| ability["works"] == false).count();
    let conclusion = match (json["works"].as_bool(), limits) {
        (Some(true), 0) => "Bifolio works here.".to_owned(),
        (Some(true), 1) => "Bifolio works here, with 1 limit.".to_owned(),
        (Some(true), limits) => format!("Bifolio works here, with {limits} limits."),
        _ => "Bifolio does not work here.".to_owned(),
    };
    assert_eq!(text.lines().nth(1), Some(conclusion.as_str()));
    for ability in abilities {
        let works = if ability["works"] == true { "yes" } else { "NO" };
        assert_eq!(cells(&text, ability["name"].as_str().expect("a name"))[1], works, "{text}");
    }
    assert_eq!(cells(&text, "check"), ["check", "yes", "needs nothing of the kernel"]);
}

#[test]
fn all_lists_every_feature_of_the_kernel() {
    let text = bifolio(&["doctor", "--all"]).stdout;
    let json = bifolio(&["doctor", "--json"]).json();
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let (_, features) = text.split_once("Features of the kernel").expect("a heading");
    for grant in json["grants"].as_array().expect("a list") {
        let expected = match (grant["granted"] == true, grant["cost"].is_null()) {
            (true, _) => "yes",
            (false, true) => "-",
            (false, false) => "NO",
        };
        assert_eq!(cells(features, grant["name"].as_str().expect("a name"))[1], expected, "{text}");
    }
}

#[test]
fn every_remedy_of_the_json_stands_in_the_text() {
    let text = bifolio(&["doctor"]).stdout;
    let json = bifolio(&["doctor", "--json"]).json();
    let grants = json["grants"].as_array().expect("a list");
    for remedy in grants.iter().filter_map(|grant| grant["remedy"].as_str()) {
        assert!(text.contains(remedy), "{remedy}");
    }
}
