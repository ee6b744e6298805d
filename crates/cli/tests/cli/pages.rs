//! Links and paths on the pages for readers lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The pages: those of the project's root and data, and all in `docs`.
fn pages() -> Vec<(PathBuf, String)> {
    let docs = fs::read_dir(root().join("docs")).expect("a folder");
    let docs = docs.map(|entry| entry.expect("readable").path());
    ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "data/README.md", "integrations/README.md"]
        .map(|page| root().join(page))
        .into_iter()
        .chain(docs.filter(|page| page.extension().is_some_and(|end| end == "md")))
        .map(|path| (path.clone(), fs::read_to_string(path).expect("a page")))
        .collect()
}

/// The lines outside of blocks of code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    page.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

/// The anchors of a page's headings.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings =
        prose(page).filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |letter: char| letter.is_alphanumeric() || letter == '-' || letter == '_';
    headings
        .map(|text| text.to_lowercase().replace(' ', "-").chars().filter(|&letter| kept(letter)).collect())
        .collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    for (path, page) in pages() {
        for target in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file =
                if file.is_empty() { path.clone() } else { path.parent().expect("a folder").join(file) };
            assert!(file.exists(), "{}: {target}", path.display());
            if !anchor.is_empty() {
                let there = anchors(&fs::read_to_string(&file).expect("a page"));
                assert!(there.contains(anchor), "{}: {target} of {there:?}", path.display());
            }
        }
    }
}

/// Tells whether a word in code is the path of a file or folder of the project.
fn is_path(word: &str) -> bool {
    let folders = ["crates/", "docs/", "data/", "scripts/", "integrations/", ".ci/"];
    let inside = folders.iter().any(|folder| word.starts_with(folder));
    let source = word.contains('/') && [".rs", ".toml"].iter().any(|end| word.ends_with(end));
    (inside || source) && !word.contains([' ', '*', '<'])
}

#[test]
fn paths_on_pages_exist() {
    let mut looked_at = 0;
    for (path, page) in pages() {
        let code = prose(&page).flat_map(|line| line.split('`').skip(1).step_by(2));
        for word in code.filter(|word| is_path(word)) {
            // Some pages leave out the folder that all crates are in.
            let places = [root(), root().join("crates")];
            let exists = places.iter().any(|place| place.join(word).exists());
            assert!(exists, "{}: there is no `{word}`", path.display());
            looked_at += 1;
        }
    }
    assert!(looked_at > 50, "only {looked_at} paths on all pages");
}

#[test]
fn index_and_book_list_every_page() {
    let docs = root().join("docs");
    let read = |name: &str| fs::read_to_string(docs.join(name)).expect("a page");
    let (index, book) = (read("README.md"), read("SUMMARY.md"));
    for entry in fs::read_dir(docs).expect("a folder") {
        let name = entry.expect("readable").file_name().into_string().expect("text");
        if !name.ends_with(".md") || name == "SUMMARY.md" {
            continue;
        }
        let link = format!("({name})");
        assert!(book.contains(&link), "{name} is no chapter");
        assert!(name == "README.md" || index.contains(&link), "{name} is not in the index");
    }
}
