//! Programs print what they print without it, in too little memory.

use std::io::Write;

use crate::command::{bifolio, figures, run, same_as_plain, same_as_plain_with, skip};
use crate::compiled::same_for_each_user;

const LISTS: &str = "
blocks = [bytes([i % 251]) * 100_000 for i in range(300)]
numbers = list(range(1_000_000))
names = {i: str(i) for i in range(200_000)}
for turn in range(2):
    print(sum(sum(block[::997]) for block in blocks), sum(numbers), len(''.join(names.values())))
    blocks.reverse()
";

#[test]
fn python_computes_the_same_in_a_quarter_of_its_memory() {
    same_as_plain("python_computes_the_same_in_a_quarter_of_its_memory", "12M", &["python3", "-c", LISTS]);
}

#[test]
fn moves_are_reported_and_no_rule_breaks() {
    let Some(figures) = figures(
        "moves_are_reported_and_no_rule_breaks",
        &["--checked", "--ram", "8M"],
        &["python3", "-c", LISTS],
    ) else {
        return;
    };
    assert!(figures["bytes"]["to_device"].as_u64() > Some(1 << 20), "{figures}");
    assert!(figures["faults"]["cpu"].as_u64() > Some(0), "{figures}");
    assert_eq!((&figures["violations"], &figures["exit"]), (&0.into(), &0.into()), "{figures}");
}

#[test]
fn scattered_pages_come_home_as_they_were_also_where_they_cannot_be_moved() {
    let test = "scattered_pages_come_home_as_they_were_also_where_they_cannot_be_moved";
    same_for_each_user(test, ("scattered", &[]), "64M", &[]);
}

#[test]
fn pages_that_the_kernel_swaps_out_keep_their_bytes() {
    let test = "pages_that_the_kernel_swaps_out_keep_their_bytes";
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    if swaps.lines().count() < 2 {
        return skip(test, "the kernel has no swap");
    }
    same_for_each_user(test, ("swapped", &[]), "16M", &[]);
}

/// A walk, strides, and pages at random, with writes.
const TOUCHES: &str = "
import random
data, choose = bytearray(16 << 20), random.Random(1)
for turn in range(2):
    for page in range(0, len(data), 4096): data[page + turn] = page % 251
    for page in range(0, len(data), 5 * 4096): data[page + 2] += 1
    for touch in range(300): data[choose.randrange(len(data))] += 1
print(sum(data))
";

#[test]
fn every_policy_gives_the_right_bytes() {
    let names = ["auto", "fixed", "stride", "density"].into_iter();
    let orders = ["lru", "fifo", "clock", "s3fifo", "sieve", "refault", "clockpro"];
    let orders = orders.map(|order| format!("stride+{order}+throttle"));
    for name in names.map(str::to_owned).chain(orders) {
        let options = ["--quiet", "--checked", "--ram", "8M", "--policy", &name];
        same_as_plain_with("every_policy_gives_the_right_bytes", &options, &["python3", "-c", TOUCHES]);
    }
}

#[test]
fn unknown_policy_is_wrong_use_and_the_known_ones_are_named() {
    let ran =
        bifolio().args(["run", "--policy", "best", "--", "true"]).output().expect("the command is there");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    for name in ["\"best\"", "auto", "fixed", "stride", "density", "+sieve", "+throttle"] {
        assert!(said.contains(name), "{name} is missing in {said}");
    }
}

const THREADS: &str = "
import threading
kept = {}
def work(name):
    blocks = [bytes([(name + i) % 251]) * 70_000 for i in range(60)]
    for turn in range(5): blocks = [block[1:] + block[:1] for block in blocks]
    kept[name] = sum(sum(block[::501]) for block in blocks)
threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sorted(kept.items()))
";

#[test]
fn threads_share_the_heap() {
    same_as_plain("threads_share_the_heap", "4M", &["python3", "-c", THREADS]);
}

/// Two threads drop pages while a third fills them and they leave: a page may go in the middle of its move.
const DROPS: &str = "
import ctypes, mmap, random, threading, time
PAGES, CLEAR = 4096, 4
region = mmap.mmap(-1, PAGES * 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
start = ctypes.addressof(ctypes.c_char.from_buffer(region))
madvise = ctypes.CDLL(None).madvise
madvise.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
end = time.time() + 4
def drop(seed):
    choose = random.Random(seed)
    while time.time() < end: madvise(start + choose.randrange(PAGES - 64) * 4096, 64 * 4096, CLEAR)
threads = [threading.Thread(target=drop, args=(seed,)) for seed in range(2)]
for thread in threads: thread.start()
while time.time() < end: ctypes.memset(start, 1, PAGES * 4096)
for thread in threads: thread.join()
print(set(region[::4096]) <= {0, 1})
";

#[test]
fn pages_are_dropped_while_they_leave() {
    same_as_plain_with(
        "pages_are_dropped_while_they_leave",
        &["--quiet", "--ram", "12M"],
        &["python3", "-c", DROPS],
    );
}

/// Two mappings side by side that are one as soon as both are withheld from children.
const NEIGHBOURS: &str = "
import ctypes, mmap
HALF, WITHHELD = 16 << 20, 10
region = mmap.mmap(-1, 2 * HALF, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
start = ctypes.addressof(ctypes.c_char.from_buffer(region))
madvise = ctypes.CDLL(None).madvise
madvise.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
assert madvise(start, HALF, WITHHELD) == 0
for page in range(2 * HALF >> 12): region[page << 12] = page % 251
print(sum(region[page << 12] for page in range(2 * HALF >> 12)))
";

#[test]
fn mappings_that_become_one_are_managed() {
    same_as_plain("mappings_that_become_one_are_managed", "8M", &["python3", "-c", NEIGHBOURS]);
}

#[test]
fn perl_computes_the_same() {
    let script = "my %h; $h{$_} = $_ x 3 for 0..20000; my $s = join ',', map { $h{$_} } sort keys %h; \
                  my $t = $s x 4; $t =~ tr/0-9/1-90/; print length $t, substr($t, 234567, 40), qq(\\n);";
    same_as_plain("perl_computes_the_same", "4M", &["perl", "-e", script]);
}

/// A text of unordered lines.
fn lines() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let mut state = 1_u64;
    for _ in 0..200_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        writeln!(file, "{:x} {}", state >> 20, state % 1000).expect("room");
    }
    file
}

#[test]
fn sort_sorts_the_same() {
    same_as_plain("sort_sorts_the_same", "4M", &["sort", lines().path().to_str().expect("a plain name")]);
}

const BLOCKS: &str = "
blocks = [bytes([i % 251]) * 100_000 for i in range(200)]
for turn in range(2): print(sum(sum(block[::997]) for block in blocks))
";

/// Runs programs in too little system memory, on device memory of a pool.
fn programs_run_the_same_on(test: &str, pool: &str) {
    let file = lines();
    let path = file.path().to_str().expect("a plain name");
    let options = ["--quiet", "--checked", "--vram", "64M", "--pool", pool, "--ram"];
    same_as_plain_with(test, &[&options[..], &["4M"]].concat(), &["sort", path]);
    same_as_plain_with(test, &[&options[..], &["4M"]].concat(), &["gzip", "-c", path]);
    same_as_plain_with(test, &[&options[..], &["8M"]].concat(), &["python3", "-c", BLOCKS]);
}

/// Touches pages at random, and prints how much private memory is resident then.
const SCATTERED: &str = "
import random
pages, choose = bytearray(48 << 20), random.Random(1)
for page in range(len(pages) >> 12): pages[page << 12] = page % 251
for turn in range(30_000): pages[choose.randrange(len(pages) >> 12) << 12 | 1] = 1
print(next(line for line in open('/proc/self/status') if line.startswith('RssAnon')).split()[1])
assert all(pages[page << 12] == page % 251 for page in range(len(pages) >> 12))
";

#[test]
fn scattered_pages_take_no_more_of_the_store_than_is_away() {
    let test = "scattered_pages_take_no_more_of_the_store_than_is_away";
    // About 55 MiB in 24 and 40: less would do only if pages that came home kept none of the store.
    let options = ["--quiet", "--ram", "24M", "--vram", "40M"];
    let Some(output) = run(test, &options, &["python3", "-c", SCATTERED]) else { return };
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let resident: usize = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number");
    assert!(resident < 26 << 10, "{resident} KiB are resident where 24 MiB may be");
}

#[test]
fn programs_run_the_same_on_free_lists() {
    programs_run_the_same_on("programs_run_the_same_on_free_lists", "freelist");
}

#[test]
fn programs_run_the_same_on_shared_objects() {
    programs_run_the_same_on("programs_run_the_same_on_shared_objects", "coherent");
}

#[test]
fn programs_run_the_same_on_a_mirror() {
    programs_run_the_same_on("programs_run_the_same_on_a_mirror", "mirror");
}

#[test]
fn heap_beyond_both_memories_is_no_failure() {
    let Some(figures) = figures(
        "heap_beyond_both_memories_is_no_failure",
        &["--ram", "4M", "--vram", "8M"],
        &["python3", "-c", LISTS],
    ) else {
        return;
    };
    assert_eq!((&figures["exit"], &figures["violations"]), (&0.into(), &0.into()));
}
