//! Help that teaches, and errors that name the argument and the limit.

use snapbox::{assert_data_eq, str};

use crate::command::{bifolio, bifolio_reads};

/// Runs the command with wrong arguments: it must exit with 2 and print nothing but the error.
fn refused(args: &[&str]) -> String {
    let ran = bifolio(args);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    ran.stderr
}

fn help(args: &[&str]) -> String {
    let ran = bifolio(args);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    ran.stdout
}

#[test]
fn help_shows_subcommands_examples_and_exit_codes() {
    assert_data_eq!(
        help(&["--help"]),
        str![[r#"
Shared virtual memory for accelerators, in user space.

A program and a device work on the same pointers; memory moves as folios,
of 4 KiB to 2 MiB, to the side that touches it. The built-in device needs
no hardware, no kernel module and no root.

Usage: bifolio <COMMAND>

Commands:
  demo    Runs a job on the built-in device, over a graph of real pointers, in too little memory
  run     Runs a program with its heap on device memory
  check   Explores designs of device folios in small worlds, and shows the shortest way to break a rule
  doctor  Tells what this machine grants, what each lack costs, and the one command that grants it
  bench   Measures what faults, migrations and allocations cost, each with its floor from the same run
  help    Print this message or the help of the given subcommand(s)

Options:
  -h, --help
          Print help (see a summary with '-h')

  -V, --version
          Print version

Examples:
  bifolio demo pagerank                  rank Debian's packages with a quarter of the memory
  bifolio demo bfs --vram 1M --json -    search them with 1 MiB, figures as JSON
  bifolio run --ram 64M -- sort big.txt  sort with 64 MiB of heap in memory, the rest on the device
  bifolio check --design linux-v3        how a design of device folios breaks
  bifolio doctor                         what this machine grants

Exit codes:
  0  all went well
  1  a result differs from the plain run, or a rule broke
  2  wrong use: an argument or an input file is not as it must be
  3  this machine refuses what Bifolio needs (`bifolio doctor` says what)
  4  anything else
`bifolio run` exits as its program does.

"#]]
    );
}

#[test]
fn help_of_pagerank_teaches_sizes() {
    assert_data_eq!(
        help(&["demo", "pagerank", "--help"]),
        str![[r#"
Ranks the nodes by who points to them

Usage: bifolio demo pagerank [OPTIONS] [FILE]

Arguments:
  [FILE]
          Edge list to work on, `-` for standard input; without it, Debian's packages.
          
          Lines of two names or numbers, `#` comments, packed with gzip or not.

Options:
      --rounds <N>
          Rounds to run
          
          [default: 20]

      --vram <SIZE>
          Device memory, such as 16M, or a share of the data, such as 1/4
          
          [default: 1/4]

      --ram <SIZE>
          System memory that the data may use at once; without it, there is no limit

      --buffers <SIZE>
          Buffer objects beside the data, which compete with it for device memory; their bytes are checked too

      --memory <KIND>
          Whether the CPU can map device memory [default: private, with --pool coherent coherent]

          Possible values:
          - private:  It cannot: a touch brings the folio home
          - coherent: It can: folios of 64 KiB and more are read and written where they are

      --pool <POOL>
          Who hands out device memory

          Possible values:
          - buddy:    Objects over a buddy allocator, as Xe; memory is free again with an object's last folio
          - freelist: Lists of free folios, as Nouveau but repaired; memory is free again with each folio
          - coherent: Objects of up to 2 MiB that neighbouring folios share, as KFD on coherent memory
          - mirror:   Free lists that keep all they ever had, as the kernel's HMM test device
          
          [default: buddy]

      --reset <WHEN>
          When the page words of folios are made clean: as they end, or as the next folio is formed there
          
          [default: split-on-free]
          [possible values: split-on-free, reinit-on-form]

      --units <N>
          Threads of the device, 1 to 64
          
          [default: 2]

      --checked
          Check the rules after every move of a folio, and not only at the end

      --json <FILE>
          Write the figures as JSON to FILE; `-` prints them instead of the text

  -q, --quiet
          Print nothing but errors and the JSON that was asked for

  -h, --help
          Print help (see a summary with '-h')

Examples:
  bifolio demo pagerank                            Debian's packages, device memory for a quarter
  bifolio demo pagerank --vram 1/16 --checked      a sixteenth, rules checked after every move
  bifolio demo pagerank --memory coherent          the CPU reads device memory in place
  bifolio demo pagerank --pool coherent            the same, with objects that neighbouring folios share
  bifolio demo pagerank --buffers 1/4              with buffer objects that take device memory too
  bifolio demo pagerank --json report.json edges   your own edge list

"#]]
    );
}

#[test]
fn help_of_bfs_teaches_roots() {
    assert_data_eq!(
        help(&["demo", "bfs", "-h"]),
        str![[r#"
Searches from one node, level by level

Usage: bifolio demo bfs [OPTIONS] [FILE]

Arguments:
  [FILE]  Edge list to work on, `-` for standard input; without it, Debian's packages

Options:
      --root <NAME>     Node to start from, by name; without it, the one that points to most others
      --vram <SIZE>     Device memory, such as 16M, or a share of the data, such as 1/4 [default: 1/4]
      --ram <SIZE>      System memory that the data may use at once; without it, there is no limit
      --buffers <SIZE>  Buffer objects beside the data, which compete with it for device memory; their bytes are checked too
      --memory <KIND>   Whether the CPU can map device memory [default: private, with --pool coherent coherent] [possible values: private, coherent]
      --pool <POOL>     Who hands out device memory [default: buddy] [possible values: buddy, freelist, coherent, mirror]
      --reset <WHEN>    When the page words of folios are made clean: as they end, or as the next folio is formed there [default: split-on-free] [possible values: split-on-free, reinit-on-form]
      --units <N>       Threads of the device, 1 to 64 [default: 2]
      --checked         Check the rules after every move of a folio, and not only at the end
      --json <FILE>     Write the figures as JSON to FILE; `-` prints them instead of the text
  -q, --quiet           Print nothing but errors and the JSON that was asked for
  -h, --help            Print help (see more with '--help')

Examples:
  bifolio demo bfs                          Debian's packages, from the one that names most others
  bifolio demo bfs --root bash --vram 64K   from bash, with 64 KiB of device memory
  zcat edges.gz | bifolio demo bfs -        your own edge list

"#]]
    );
}

#[test]
fn help_of_doctor_tells_its_exit_codes() {
    assert_data_eq!(
        help(&["doctor", "--help"]),
        str![[r#"
Tells what this machine grants, what each lack costs, and the one command that grants it

Usage: bifolio doctor [OPTIONS]

Options:
      --all   List the features of the kernel as well
      --json  Print JSON instead of the text
  -h, --help  Print help

Exits with 0 if the built-in device works, with 3 if it does not. Changes nothing.

"#]]
    );
}

#[test]
fn help_of_bench_tells_what_a_ratio_means() {
    assert_data_eq!(
        help(&["bench", "--help"]),
        str![[r#"
Measures what faults, migrations and allocations cost, each with its floor from the same run

Usage: bifolio bench [OPTIONS] <WHAT>

Arguments:
  <WHAT>
          What to measure

          Possible values:
          - fault:   Page faults, of the CPU and of the device
          - migrate: Migration out and back
          - buddy:   The allocator of device memory; needs no device
          - folio:   The life of a folio; needs no device
          - check:   The explorer behind `bifolio check`, in states a second of one core; needs no device

Options:
      --json
          Print a JSON array of rows instead of the table

      --quick
          Take a second or two, for a look; such figures are not to be quoted

  -h, --help
          Print help (see a summary with '-h')

The floor is what the machine can do without Bifolio: a bare page fault, a copy, one bit turned over for each call;
for buddy.scale it is the size of pool that costs least, for folios the same at order 0, for check states put into a
set without any step done. The ratio is the result; it should be at most the goal for times, at least the goal for
rates. A goal with a unit (buddy.fragmented, buddy.mixed, check) is the most that the value itself may be, or the least
of a rate. Exits with 0 whether or not goals are met.

"#]]
    );
}

#[test]
fn no_subcommand_shows_the_help_as_an_error() {
    assert!(refused(&[]).contains("Usage: bifolio <COMMAND>"));
}

#[test]
fn unknown_subcommand_is_refused_with_a_suggestion() {
    assert_data_eq!(
        refused(&["docter"]),
        str![[r#"
error: unrecognized subcommand 'docter'

  tip: a similar subcommand exists: 'doctor'

Usage: bifolio <COMMAND>

For more information, try '--help'.

"#]]
    );
}

#[test]
fn size_that_is_none_is_refused_by_name() {
    assert_data_eq!(
        refused(&["demo", "pagerank", "--vram", "1.5M"]),
        str![[r#"
error: invalid value '1.5M' for '--vram <SIZE>': expected a size such as 4096, 64K, 16M or 1G, or a share of the data such as 1/4

For more information, try '--help'.

"#]]
    );
}

#[test]
fn share_of_nothing_is_refused_by_name() {
    assert_data_eq!(
        refused(&["demo", "bfs", "--ram", "1/0"]),
        str![[r#"
error: invalid value '1/0' for '--ram <SIZE>': a share of 0 parts is no share; write for example 1/4

For more information, try '--help'.

"#]]
    );
}

#[test]
fn objects_is_another_name_of_buffers() {
    let refused = refused(&["demo", "bfs", "--objects", "1/0"]);
    assert!(refused.starts_with("error: invalid value '1/0' for '--buffers <SIZE>'"), "{refused}");
}

#[test]
fn size_beyond_all_memory_is_refused_with_the_limit() {
    assert_data_eq!(
        refused(&["demo", "bfs", "--vram", "99999999G"]),
        str![[r#"
error: invalid value '99999999G' for '--vram <SIZE>': the limit is 65536G

For more information, try '--help'.

"#]]
    );
}

#[test]
fn units_outside_the_limits_are_refused() {
    assert_data_eq!(
        refused(&["demo", "bfs", "--units", "65"]),
        str![[r#"
error: invalid value '65' for '--units <N>': expected a number from 1 to 64

For more information, try '--help'.

"#]]
    );
    assert!(refused(&["demo", "bfs", "--units", "0"]).contains("from 1 to 64"));
}

#[test]
fn rounds_outside_the_limits_are_refused() {
    assert_data_eq!(
        refused(&["demo", "pagerank", "--rounds", "0"]),
        str![[r#"
error: invalid value '0' for '--rounds <N>': 0 is not in 1..=10000

For more information, try '--help'.

"#]]
    );
}

#[test]
fn kind_of_memory_that_does_not_exist_is_refused_with_those_that_do() {
    assert_data_eq!(
        refused(&["demo", "bfs", "--memory", "public"]),
        str![[r#"
error: invalid value 'public' for '--memory <KIND>'
  [possible values: private, coherent]

For more information, try '--help'.

"#]]
    );
}

#[test]
fn device_memory_too_small_for_its_units_is_refused_with_the_way_out() {
    assert_data_eq!(
        refused(&["demo", "bfs", "--vram", "4K"]),
        str![[r#"
bifolio: --vram of 4 KiB is too little: each of 2 units needs a folio of 4 KiB; give at least 8 KiB, or fewer --units

"#]]
    );
    assert_data_eq!(
        refused(&["demo", "bfs", "--memory", "coherent", "--vram", "64K"]),
        str![[r#"
bifolio: --vram of 64 KiB is too little: each of 2 units needs a folio of 64 KiB; give at least 128 KiB, or fewer --units

"#]]
    );
}

#[test]
fn memory_that_cannot_hold_the_data_is_refused_with_the_way_out() {
    assert_data_eq!(
        refused(&["demo", "bfs", "--ram", "1M", "--vram", "1M"]),
        str![[r#"
bifolio: --ram of 1 MiB and --vram of 1 MiB are too little together: data and buffer objects of 12.4 MiB need 320 KiB more, so that folios can move; give 12 MiB of --ram, or leave it out

"#]]
    );
    assert_data_eq!(
        refused(&["demo", "bfs", "--ram", "4K"]),
        str![[r#"
bifolio: --ram of 4 KiB is too little: give at least 64 KiB, or leave it out

"#]]
    );
}

#[test]
fn more_memory_than_the_machine_has_is_refused() {
    assert_data_eq!(
        refused(&["demo", "bfs", "--vram", "65536G"]),
        str![[r#"
bifolio: --vram of 65536 GiB is more than the [..] of memory that this machine has

"#]]
    );
}

#[test]
fn root_that_is_no_node_is_refused() {
    assert_data_eq!(
        refused(&["demo", "bfs", "--root", "no-such-package"]),
        str![[r#"
bifolio: --root no-such-package: the graph has no node of this name

"#]]
    );
}

#[test]
fn file_that_does_not_exist_is_refused() {
    assert_data_eq!(
        refused(&["demo", "bfs", "/no/such/file"]),
        str![[r#"
bifolio: opening /no/such/file failed: No such file or directory (os error 2)

"#]]
    );
}

#[test]
fn names_in_errors_do_not_reach_the_terminal_as_commands() {
    for args in [&["demo", "bfs", "no\x1b[2Jfile"][..], &["demo", "bfs", "--vram", "\x1b[2J"], &["\x1b[2J"]] {
        let error = refused(args);
        assert!(error.contains("\\u{1b}[2J") && !error.contains('\x1b'), "{error:?}");
    }
    let root = "x".repeat(60_000);
    assert!(refused(&["demo", "bfs", "--root", &root]).len() < 200);
}

#[test]
fn malformed_line_is_refused_with_its_number() {
    let ran = bifolio_reads(&["demo", "bfs", "-"], "# edges\na b\na b 7\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert_data_eq!(
        ran.stderr,
        str![[r#"
bifolio: standard input is not an edge list: line 3: expected two columns (source and target), found 3

"#]]
    );
}
