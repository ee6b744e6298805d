//! Programs whose allocator or loader is busy as they start.

use std::path::PathBuf;
use std::process::Command;

use crate::command::skip;
use crate::compiled::{Compiled, User, ran, same_for_each_user};

#[test]
fn library_loaded_first_thing_may_fill_memory() {
    let test = "library_loaded_first_thing_may_fill_memory";
    let (Some(program), Some(library)) = (
        Compiled::new(test, "early", &["-ldl"]),
        Compiled::new(test, "early_library", &["-shared", "-fPIC"]),
    ) else {
        return;
    };
    let library = library.folder.path().join("early_library");
    let library = library.to_str().expect("a plain name");
    for user in User::all(test) {
        // One processor is where the service runs only if the program waits.
        for start in 0..10 {
            let mut command = Command::new("taskset");
            let managed = program.managed(user, &["--ram", "6M"]);
            command.args(["-c", "0"]).arg(managed.get_program()).args(managed.get_args()).arg(library);
            let Some(output) = ran(test, command) else { return };
            assert_eq!(
                (output.status.code(), &*output.stdout),
                (Some(0), &b"loaded\n"[..]),
                "{user:?} {start}"
            );
        }
    }
}

#[test]
fn blocks_are_as_large_as_their_allocator_says() {
    let test = "blocks_are_as_large_as_their_allocator_says";
    same_for_each_user(test, ("usable_size", &[]), "4M", &[]);
    for library in ["libjemalloc.so.2", "libtcmalloc_minimal.so.4", "libmimalloc.so.2"] {
        let folders = ["/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
        let places = folders.map(|folder| PathBuf::from(folder).join(library));
        let Some(found) = places.iter().find(|place| place.exists()) else {
            skip(test, &format!("there is no {library}"));
            continue;
        };
        let flags = ["-Wl,--no-as-needed", found.to_str().expect("a plain name")];
        same_for_each_user(test, ("usable_size", &flags), "4M", &[]);
    }
}
