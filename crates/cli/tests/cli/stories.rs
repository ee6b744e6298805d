//! Stories of broken rules, as traces that are replayed.

use crate::command::bifolio;

/// Explores with these options, and writes the story to a file; returns that, and what was told.
fn story(folder: &tempfile::TempDir, options: &[&str]) -> (String, String) {
    let path = folder.path().join("story").to_str().expect("a plain name").to_owned();
    let ran = bifolio(&[&["check", "--trace", &path], options].concat());
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    (path, ran.stdout)
}

#[test]
fn story_is_replayed_step_by_step_and_names_the_rule() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases: [&[&str]; 3] = [
        &["--design", "linux-v3", "--rule", "I4"],
        &["--design", "migrate-reads-after-put", "--rule", "I17"],
        &["--design", "split-without-barrier", "--rule", "I16", "--memory-order", "weak"],
    ];
    for options in cases {
        let (path, told) = story(&folder, options);
        let replayed = bifolio(&["replay", &path]);
        assert_eq!(replayed.code, Some(1), "{options:?}: {}{}", replayed.stdout, replayed.stderr);
        assert!(told.contains(replayed.stdout.trim_end()), "{}", replayed.stdout);
        assert!(replayed.stdout.contains(&format!("=> breaks {}", options[3])), "{}", replayed.stdout);
        let info = bifolio(&["trace", "info", &path]).stdout;
        assert!(info.contains(&format!("breaks    {}, of {}", options[3], options[1])), "{info}");
        assert!(info.contains(&format!("bifolio check --trace {path} {}", options.join(" "))), "{info}");
    }
}

#[test]
fn rule_that_holds_has_no_story_to_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("none");
    let path_text = path.to_str().expect("a plain name");
    let ran = bifolio(&["check", "--design", "linux-v3", "--rule", "I1", "--trace", path_text]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("does not break") && !path.exists(), "{}", ran.stderr);
}
