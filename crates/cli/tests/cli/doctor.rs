//! `doctor`: its table and its JSON agree, and its exit code says whether the device works.

use crate::command::bifolio;

#[test]
fn exit_code_says_whether_the_device_works() {
    let ran = bifolio(&["doctor", "--json"]);
    let works = ran.json()["works"].as_bool().expect("a yes or no");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(if works { 0 } else { 3 }), ""));
}

#[test]
fn table_names_every_grant_and_ends_with_a_conclusion() {
    let text = bifolio(&["doctor"]).stdout;
    let json = bifolio(&["doctor", "--json"]).json();
    let grants = json["grants"].as_array().expect("a list");
    for grant in grants {
        let name = grant["name"].as_str().expect("a name");
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
        let granted = if grant["granted"] == true { " yes " } else { " NO " };
        assert!(line.contains(granted), "{line}");
    }
    assert!(text.lines().last().is_some_and(|line| line.starts_with("The built-in device ")), "{text}");
}

#[test]
fn every_remedy_of_the_json_stands_in_the_text() {
    let text = bifolio(&["doctor"]).stdout;
    let json = bifolio(&["doctor", "--json"]).json();
    for remedy in
        json["grants"].as_array().expect("a list").iter().filter_map(|grant| grant["remedy"].as_str())
    {
        assert!(text.contains(remedy), "{remedy}");
    }
}
