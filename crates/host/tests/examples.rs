//! The examples do what the README says they print.

mod kernel;

#[path = "../examples/partial_unmap.rs"]
#[expect(dead_code, reason = "the example's own main")]
mod partial_unmap;

const README: &str = include_str!("../../../README.md");

#[test]
fn partial_unmap_prints_what_the_readme_shows() {
    if !kernel::grants("partial_unmap_prints_what_the_readme_shows", kernel::SHARED) {
        return;
    }
    let told = partial_unmap::tell().expect("both ways work, and no byte is lost");
    assert!(README.contains(&told), "the README does not show:\n{told}");
}
