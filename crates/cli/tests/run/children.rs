//! Children of a program, and what they find.

use crate::command::same_as_plain;
use crate::compiled::same_for_each_user;

const FORKS: &str = "
import os, subprocess
blocks = [bytes([i % 251]) * 100_000 for i in range(300)]
def total(): return sum(sum(block[::997]) for block in blocks)
want = total()
for turn in range(3):
    child = os.fork()
    if child == 0:
        right = total() == want
        blocks[7] = bytes(300_000)
        blocks.clear()
        os._exit(0 if right else 1)
    print(os.waitpid(child, 0)[1], total() == want)
print(subprocess.run(['echo', 'started'], capture_output=True).stdout)
print(os.system('exit 5'))
";

#[test]
fn children_and_parents_have_their_bytes() {
    same_as_plain("children_and_parents_have_their_bytes", "8M", &["python3", "-c", FORKS]);
}

#[test]
fn memory_that_is_away_comes_home_into_mappings_that_were_split() {
    let script = "
import ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)
size = 32 << 20
memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, size, 4096): memory[at] = at // 4096 % 251
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
changed = [libc.mprotect(ctypes.c_void_p(start + at), 4096, 1) for at in range(0, size, 160 << 10)]
import os
def total(): return sum(memory[at] for at in range(0, size, 4096))
child = os.fork()
if child == 0: os._exit(total() % 251)
print(os.waitpid(child, 0)[1], total(), set(changed))
";
    let test = "memory_that_is_away_comes_home_into_mappings_that_were_split";
    same_as_plain(test, "8M", &["python3", "-c", script]);
}

#[test]
fn children_of_every_kind_find_their_bytes_or_none() {
    same_for_each_user("children_of_every_kind_find_their_bytes_or_none", ("children", &[]), "6M", &[]);
}
