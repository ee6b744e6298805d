//! Help that teaches, and errors that name the argument and the limit.

use std::io::Write;

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
Linux's device memory, rebuilt in Rust as an ordinary program.

A program and a simulated accelerator follow the same pointers. Pages move as
folios, of 4 KiB to 2 MiB, to the side that touches them. This needs no GPU,
no kernel module and no root.

Usage: bifolio <COMMAND>

Commands:
  demo         Run a job on the built-in device, in less memory than its data
  run          Run a program with its heap on device memory
  home         Bring the memory of such a program home, for a debugger
  stats        Print the figures of such a program while it runs
  top          Show a running program or demonstration, live
  check        Explore designs of device folios, and show how they break
  doctor       Say what works on this machine, and what lifts the limits
  replay       Replay a trace under other policies, in virtual time
  report       Draw a trace, as one HTML file that needs no network
  trace        Say what a trace holds, cut it, and give it to other programs
  bench        Measure faults, migrations and allocations beside their floors
  man          Print a page of the manual, or write all of them to a folder
  completions  Print what a shell needs to complete the command line
  help         Print this message or the help of the given subcommand(s)

Options:
  -h, --help
          Print help (see a summary with '-h')

  -V, --version
          Print version

Examples:
  bifolio demo pagerank                  rank the packages of Debian
  bifolio demo bfs --vram 1M --json -    search them, figures as JSON
  bifolio run --ram 64M -- sort big.txt  sort with 64 MiB of its heap in memory
  bifolio check --design linux-v3        how a design of device folios breaks
  bifolio doctor                         what works on this machine

Exit codes:
  0  success
  1  a result differs from the plain run, or a rule broke
  2  wrong use: an argument or an input file is not as it must be
  3  this machine refuses what Bifolio needs (see bifolio doctor)
  4  anything else
bifolio run exits as its program does: with its code, or by its signal. 126 says
that the program cannot be run, 127 that there is none.

"#]]
    );
}

#[test]
fn help_of_pagerank_teaches_sizes() {
    assert_data_eq!(
        help(&["demo", "pagerank", "--help"]),
        str![[r#"
Rank the nodes of a graph by the nodes that point to them

Usage: bifolio demo pagerank [OPTIONS] [FILE]

Arguments:
  [FILE]
          Edge list to work on, `-` for standard input; without it, Debian's
          packages.
          
          A line holds two names or numbers. Lines that begin with `#`, `%` or
          `//` are comments. If the first line is `# adjacency list`, a line
          holds a node and all nodes that it points to. The file may be packed
          with gzip.

Options:
      --rounds <N>
          Rounds to run
          
          [default: 20]

      --sources <N>
          Rank what is close to each of the N nodes that point to most others,
          too; without it, 128 for Debian's packages on one device.
          
          This is personalised PageRank. Each node adds 16 bytes for each node
          of the graph to the data.

      --rmat <SCALE>
          Work on a random graph of 2^SCALE nodes and four edges for each, with
          few busy nodes (R-MAT)

      --seed <N>
          What the random numbers of `--rmat` begin with; the same seed makes
          the same graph
          
          [default: 1]

      --vram <SIZE>
          Memory of each device: a size such as 16M, or a share of the data such
          as 1/4
          
          [default: 1/4]

      --devices <N>
          Devices that share the job, 1 to 8.
          
          Pages that several devices want go from one to the other.
          
          [default: 1]

      --ram <SIZE>
          Most system memory that the data may use at once; without it, no limit

      --buffers <SIZE>
          Buffer objects beside the data, which compete with it for device
          memory.
          
          Their bytes are checked too.

      --memory <KIND>
          Whether the CPU can map device memory.
          
          Without it private; coherent with `--pool coherent`.

          Possible values:
          - private:  It cannot: a touch brings the folio back to system memory
          - coherent: It can: folios of 64 KiB and more are used where they are

      --pool <POOL>
          The pool that hands out device memory

          Possible values:
          - buddy:    Objects over a buddy allocator, as Xe; memory is free
            again with an object's last folio
          - freelist: Lists of free folios, as Nouveau but repaired; memory is
            free again with each folio
          - coherent: Objects of up to 2 MiB that neighbouring folios share, as
            KFD on coherent memory
          - mirror:   Free lists that keep all they ever had, as the kernel's
            HMM test device
          
          [default: buddy]

      --policy <NAME>
          What moves, how much of it and what leaves: `auto`, `fixed`, `stride`
          or `density`.
          
          Each also with `+lru`, `+fifo`, `+clock`, `+s3fifo`, `+sieve`,
          `+refault` or `+clockpro`, such as `stride+sieve`, and with
          `+throttle`.
          
          [default: auto]

      --reset <WHEN>
          When the page metadata of a folio is cleared: as it is freed, or as
          the next folio is formed there
          
          [default: split-on-free]
          [possible values: split-on-free, reinit-on-form]

      --units <N>
          Threads of each device, 1 to 64
          
          [default: 2]

      --checked
          Check the rules after every move of a folio, not only at the end

      --trace <FILE>
          Record what happens to FILE, for `bifolio trace` and `bifolio report`

      --report <FILE>
          Draw what happened, as one HTML file that needs no network

      --trace-limit <SIZE>
          Longest trace; beyond it the newest events replace the oldest
          
          [default: 256M]

      --trace-accesses
          Record every page that the device accesses as well, not only what
          moves: slow and long, but exact

      --json <FILE>
          Write the figures as JSON to FILE; `-` prints them in place of the
          text

  -q, --quiet
          Print nothing but errors, and JSON if asked for

  -h, --help
          Print help (see a summary with '-h')

Examples:
  bifolio demo pagerank                     Debian's packages
  bifolio demo pagerank --vram 1/16         with device memory for a sixteenth
  bifolio demo pagerank --sources 0         ranks of all packages only
  bifolio demo pagerank --checked           rules checked after every move
  bifolio demo pagerank --memory coherent   the CPU reads device memory in place
  bifolio demo pagerank --buffers 1/4       buffer objects compete for it
  bifolio demo pagerank --json - edges.txt  your own edge list

"#]]
    );
}

#[test]
fn help_of_bfs_teaches_roots() {
    assert_data_eq!(
        help(&["demo", "bfs", "-h"]),
        str![[r#"
Search a graph from one node, level by level

Usage: bifolio demo bfs [OPTIONS] [FILE]

Arguments:
  [FILE]  Edge list to work on, `-` for standard input; without it, Debian's
          packages

Options:
      --root <NAME>         Node to start from, by name; without it, the node
                            that points to most others
      --rmat <SCALE>        Work on a random graph of 2^SCALE nodes and four
                            edges for each, with few busy nodes (R-MAT)
      --seed <N>            What the random numbers of `--rmat` begin with; the
                            same seed makes the same graph [default: 1]
      --vram <SIZE>         Memory of each device: a size such as 16M, or a
                            share of the data such as 1/4 [default: 1/4]
      --devices <N>         Devices that share the job, 1 to 8 [default: 1]
      --ram <SIZE>          Most system memory that the data may use at once;
                            without it, no limit
      --buffers <SIZE>      Buffer objects beside the data, which compete with
                            it for device memory
      --memory <KIND>       Whether the CPU can map device memory [possible
                            values: private, coherent]
      --pool <POOL>         The pool that hands out device memory [default:
                            buddy] [possible values: buddy, freelist, coherent,
                            mirror]
      --policy <NAME>       What moves, how much of it and what leaves: `auto`,
                            `fixed`, `stride` or `density` [default: auto]
      --reset <WHEN>        When the page metadata of a folio is cleared: as it
                            is freed, or as the next folio is formed there
                            [default: split-on-free] [possible values:
                            split-on-free, reinit-on-form]
      --units <N>           Threads of each device, 1 to 64 [default: 2]
      --checked             Check the rules after every move of a folio, not
                            only at the end
      --trace <FILE>        Record what happens to FILE, for `bifolio trace` and
                            `bifolio report`
      --report <FILE>       Draw what happened, as one HTML file that needs no
                            network
      --trace-limit <SIZE>  Longest trace; beyond it the newest events replace
                            the oldest [default: 256M]
      --trace-accesses      Record every page that the device accesses as well,
                            not only what moves: slow and long, but exact
      --json <FILE>         Write the figures as JSON to FILE; `-` prints them
                            in place of the text
  -q, --quiet               Print nothing but errors, and JSON if asked for
  -h, --help                Print help (see more with '--help')

Examples:
  bifolio demo bfs                         Debian's packages
  bifolio demo bfs --root bash --vram 64K  from bash, device memory of 64 KiB
  bifolio demo bfs --rmat 20 --seed 1      a random graph of a million nodes
  zcat edges.gz | bifolio demo bfs -       your own edge list

"#]]
    );
}

#[test]
fn help_of_doctor_tells_its_exit_codes() {
    assert_data_eq!(
        help(&["doctor", "--help"]),
        str![[r#"
Say what works on this machine, and what lifts the limits

Usage: bifolio doctor [OPTIONS]

Options:
      --all   List the features of the kernel as well
      --json  Print JSON instead of the text
  -h, --help  Print help

Exit codes: 0 the built-in device works; 3 it does not. Nothing is changed.

"#]]
    );
}

#[test]
fn help_of_bench_tells_what_a_ratio_means() {
    assert_data_eq!(
        help(&["bench", "--help"]),
        str![[r#"
Measure faults, migrations and allocations beside their floors

Usage: bifolio bench [OPTIONS] <WHAT>
       bifolio bench <COMMAND>

Commands:
  oversubscribe  Compare policies where the data is larger than the memory;
                 simulated, needs no device

Arguments:
  <WHAT>
          What to measure

          Possible values:
          - fault:   Page faults of the CPU and of the device
          - migrate: Migration to the device and back
          - attach:  Accesses, faults and invalidations of a device of one's own
          - buddy:   The allocator of device memory; needs no device
          - folio:   The life of a folio; needs no device
          - check:   The explorer behind `bifolio check`, on one core; needs no
            device
          - run:     Scattered faults of a program under `bifolio run`

Options:
      --json
          Print the rows as JSON instead of the table

      --quick
          Measure for a second or two. Such figures are for a look: they are not
          judged

  -h, --help
          Print help (see a summary with '-h')

Examples:
  bifolio bench fault           faults by folio size, and the cost of --checked
  bifolio bench attach          ports, from Rust and from C
  bifolio bench buddy --quick   the allocator, for a look
  bifolio bench oversubscribe   policies where the data is larger than memory

The floor of a figure is the same work without Bifolio, in the same run: a bare
page fault, a copy, one bit turned over for each call of the allocator. The
ratio of the two is the result. A goal with <= is the most that the ratio may
be, one with >= the least; a goal with a unit is about the value itself. The
exit code is 0 whether goals are met or not.

"#]]
    );
}

#[test]
fn every_help_fits_eighty_columns() {
    for command in [
        &[][..],
        &["demo"],
        &["demo", "pagerank"],
        &["demo", "bfs"],
        &["run"],
        &["home"],
        &["stats"],
        &["top"],
        &["check"],
        &["doctor"],
        &["replay"],
        &["report"],
        &["trace"],
        &["trace", "info"],
        &["trace", "cut"],
        &["trace", "export"],
        &["bench"],
        &["bench", "oversubscribe"],
        &["man"],
        &["completions"],
    ] {
        for flag in ["-h", "--help"] {
            let text = help(&[command, &[flag]].concat());
            let long = text.lines().find(|line| line.chars().count() > 80);
            assert_eq!(long, None, "{command:?} {flag}");
        }
    }
}

#[test]
fn no_subcommand_shows_the_help_as_an_error() {
    assert!(refused(&[]).contains("Usage: bifolio <COMMAND>"));
}

#[test]
fn data_of_less_than_a_page_is_refused_by_name() {
    let error = refused(&["bench", "oversubscribe", "--data", "1K"]);
    assert!(error.contains("--data <SIZE>") && error.contains("give 4 KiB at least"), "{error}");
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
error: invalid value '0' for '--rounds <N>': expected a number from 1 to 10000

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
    for size in ["--ram", "--vram"] {
        let said = refused(&["run", size, "65536G", "--", "true"]);
        assert!(said.contains(&format!("{size} of 65536 GiB is more than")), "{said}");
    }
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

#[test]
fn pages_of_the_manual_are_troff_without_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("man1");
    let ran = bifolio(&["man", "--dir", dir.to_str().expect("a plain name")]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    let pages: Vec<_> =
        std::fs::read_dir(&dir).expect("it was made").map(|entry| entry.expect("a page").path()).collect();
    assert!(pages.iter().any(|page| page.ends_with("bifolio-trace-cut.1")), "{pages:?}");
    let printed = bifolio(&["man", "trace", "cut"]);
    assert_eq!(printed.stdout, std::fs::read_to_string(dir.join("bifolio-trace-cut.1")).expect("a page"));
    let mut groff = std::process::Command::new("groff");
    match groff.args(["-man", "-ww", "-Tutf8", "-z"]).args(&pages).output() {
        Err(_) => skip("pages_of_the_manual_are_troff_without_a_warning", "there is no groff"),
        Ok(checked) => assert!(checked.status.success() && checked.stderr.is_empty(), "{checked:?}"),
    }
}

#[test]
fn unknown_page_of_the_manual_is_refused_with_those_that_exist() {
    let ran = bifolio(&["man", "rum"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains(r#"no command "rum""#) && ran.stderr.contains("trace cut"), "{ran:?}");
}

#[test]
fn bash_completes_commands_options_and_values() {
    let script = bifolio(&["completions", "bash"]).stdout;
    for (line, wanted) in [("bifolio re", "replay report"), ("bifolio run --tra", "--trace --trace-limit")] {
        let words: Vec<_> = line.split(' ').collect();
        let ask = format!(
            "{script}\nCOMP_WORDS=({line}) COMP_CWORD={}\n_bifolio bifolio {} ''\necho ${{COMPREPLY[*]}}",
            words.len() - 1,
            words[words.len() - 1]
        );
        let Ok(asked) = std::process::Command::new("bash").args(["-c", &ask]).output() else {
            return skip("bash_completes_commands_options_and_values", "there is no bash");
        };
        assert_eq!(String::from_utf8_lossy(&asked.stdout).trim(), wanted, "{line}: {asked:?}");
    }
}

#[test]
fn completions_are_there_for_each_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = bifolio(&["completions", shell]).stdout;
        for word in ["what-if", "trace-limit", "completions"] {
            assert!(script.contains(word), "{shell} completes no {word}");
        }
    }
}

fn skip(test: &str, why: &str) {
    // Past the test harness, which would hide it from `.ci/run`.
    writeln!(std::io::stderr(), "SKIP {test}: {why}").expect("standard error is there");
}
