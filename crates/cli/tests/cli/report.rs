//! Reports, as a person opens them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::command::{bifolio, device_works};

#[test]
fn report_of_a_run_is_one_file_with_every_picture_and_its_numbers() {
    if !device_works("report_of_a_run_is_one_file_with_every_picture_and_its_numbers") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let html = record(folder.path());
    let html = std::fs::read_to_string(html).expect("it was written");
    for title in
        ["What moved", "Where pages were", "Device memory", "How long faults took", "Hot ranges", "Rules"]
    {
        assert!(html.contains(title), "{title}");
    }
    // No script, nothing to fetch: not even a name of another host.
    for word in ["<script", "http://", "https://", "src=", "url("] {
        assert!(!html.contains(word), "{word}");
    }
    assert!(html.contains("demo pagerank"), "the command is named");
}

#[test]
fn first_picture_is_a_file_of_its_own_if_its_name_says_so() {
    if !device_works("first_picture_is_a_file_of_its_own_if_its_name_says_so") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("a plain name").to_owned();
    let (trace, picture) = (at("trace"), at("map.svg"));
    assert_eq!(bifolio(&["demo", "bfs", "-q", "--trace", &trace]).code, Some(0));
    assert_eq!(bifolio(&["report", &trace, "-o", &picture]).code, Some(0));
    let text = std::fs::read_to_string(&picture).expect("it was written");
    assert!(text.starts_with("<svg xmlns=") && text.ends_with("</svg>"), "{picture}");
    assert!(text.contains("<rect class=\"h") && !text.contains("<section"), "{picture}");
}

#[test]
fn trace_and_run_are_drawn_alike() {
    if !device_works("trace_and_run_are_drawn_alike") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("a plain name").to_owned();
    let (trace, one, two) = (at("trace"), at("one.html"), at("two.html"));
    let args = ["demo", "bfs", "-q", "--trace", &trace, "--report", &one];
    assert_eq!(bifolio(&args).code, Some(0));
    assert_eq!(bifolio(&["report", &trace, "-o", &two]).code, Some(0));
    let read = |path: &str| std::fs::read_to_string(path).expect("it was written");
    assert!(read(&one) == read(&two), "{one} and {two} differ");
}

/// Texts of pictures that begin or end outside of them.
const CUT: &str = "[...document.querySelectorAll('svg text')].filter(text => {
    const [inner, outer] = [text, text.ownerSVGElement].map(element => element.getBoundingClientRect());
    return inner.left < outer.left - 1 || inner.right > outer.right + 1 || inner.bottom > outer.bottom + 1;
}).map(text => text.textContent)";
/// Texts of one picture that lie upon each other.
const OVERLAPS: &str = "[...document.querySelectorAll('figure > svg')].flatMap(svg => {
    const texts = [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
    return texts.flatMap(([one, a], at) => texts.slice(at + 1).filter(([_, b]) =>
        a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3
    ).map(([other]) => one + ' | ' + other));
})";

/// Tables of which a part is to be seen only by scrolling.
const WIDE: &str =
    "[...document.querySelectorAll('.scroll')].filter(table => table.scrollWidth > table.clientWidth + 1)
    .map(table => table.textContent.slice(0, 80))";

/// Looks at a report in light and dark, narrow and wide; with `BIFOLIO_SCREENSHOTS=FOLDER` people can, too.
fn look(browser: &mut Browser, html: &str, name: &str) {
    let mut grounds = Vec::new();
    for theme in ["light", "dark"] {
        for width in [800, 1440] {
            browser.open_page();
            let features = json!([{ "name": "prefers-color-scheme", "value": theme }]);
            browser.ask("Emulation.setEmulatedMedia", &json!({ "features": features }));
            let window = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
            browser.ask("Emulation.setDeviceMetricsOverride", &window);
            browser.go_to(&format!("file://{html}"));
            let view = format!("{name}, {theme}, {width} pixels");
            let said = ["Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"];
            assert_eq!(browser.events(&said), Vec::<&Value>::new(), "{view}");
            // The file itself, and nothing else.
            assert_eq!(browser.events(&["Network.requestWillBeSent"]).len(), 1, "{view}");
            let overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(browser.value(overflow), 0, "{view}");
            for wrong in [CUT, OVERLAPS, WIDE] {
                assert_eq!(browser.value(wrong), json!([]), "{view}");
            }
            assert_eq!(
                browser.value("document.querySelectorAll('figure > svg:not([aria-label])').length"),
                0
            );
            let pictures = browser.value("document.querySelectorAll('figure > svg').length");
            assert!(pictures.as_u64() >= Some(6), "{view}: {pictures} pictures");
            let numbers =
                browser.value("document.querySelectorAll('section:has(figure) details table').length");
            assert_eq!(numbers, pictures, "{view}: each picture has its numbers");
            grounds.push(browser.value("getComputedStyle(document.body).backgroundColor"));
            if let Ok(folder) = std::env::var("BIFOLIO_SCREENSHOTS") {
                screenshot(browser, &format!("{folder}/{name}-{theme}-{width}.png"));
            }
        }
    }
    assert_ne!(grounds[0], grounds[2], "light and dark look alike");
}

fn screenshot(browser: &mut Browser, path: &str) {
    let shot = browser.ask("Page.captureScreenshot", &json!({ "captureBeyondViewport": true }));
    let decode = Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut decode = decode.expect("base64 is there");
    let mut file = std::fs::File::create(path).expect("the folder is there");
    let mut decoded = decode.stdout.take().expect("piped");
    let copy = std::thread::spawn(move || std::io::copy(&mut decoded, &mut file).expect("there is room"));
    let text = shot["data"].as_str().expect("a picture");
    decode.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    decode.wait().expect("it ends");
    copy.join().expect("copied");
}

#[test]
fn report_renders_without_errors_and_fits_its_window() {
    let test = "report_renders_without_errors_and_fits_its_window";
    let Some(mut browser) = Browser::start() else {
        // Past the test harness, which would hide it from those who count.
        writeln!(std::io::stderr(), "SKIP {test}: there is no chromium").expect("standard error is there");
        return;
    };
    if !device_works(test) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    look(&mut browser, &record(folder.path()), "demo");
    let at = |name: &str| folder.path().join(name).to_str().expect("a plain name").to_owned();
    let exact = at("exact.html");
    let job = ["demo", "pagerank", "-q", "--sources", "0", "--rounds", "1", "--devices", "2", "--checked"];
    let recorded = ["--trace-accesses", "--buffers", "1/4", "--report", &exact];
    assert_eq!(bifolio(&[&job[..], &recorded].concat()).code, Some(0));
    look(&mut browser, &exact, "accesses");
    let (words, run) = (at("words"), at("run.html"));
    let text: String =
        (0..600_000_u64).map(|line| format!("{:x}\n", line.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    std::fs::write(&words, text).expect("there is room");
    let program = ["sort", "-S", "64M", "-o", "/dev/null", &words];
    let options = ["run", "-q", "--ram", "16M", "--call-sites", "--report", &run, "--"];
    let ran = bifolio(&[&options[..], &program].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    look(&mut browser, &run, "run");
}

/// Records and draws a short job; returns the file.
fn record(folder: &Path) -> String {
    let html = folder.join("report.html").to_str().expect("a plain name").to_owned();
    let ran = bifolio(&["demo", "pagerank", "-q", "--sources", "0", "--rounds", "2", "--report", &html]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    html
}
