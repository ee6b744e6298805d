//! Chromium without a window, driven by its DevTools protocol: JSON messages, each ended by a zero byte, over two pipes.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// Where Debian and others have it.
const PLACES: [&str; 3] = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/// A browser, and what it said that was no answer.
pub struct Browser {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    sent: u64,
    /// Events, by name and content, since they were last taken.
    events: Vec<(String, Value)>,
    /// The page that messages are for.
    session: Option<String>,
}

impl Browser {
    /// Starts it; `None` if there is none.
    pub fn start() -> Option<Browser> {
        let program = PLACES.into_iter().find(|path| Path::new(path).exists())?;
        // The browser reads from descriptor 3 and writes to 4.
        let script = format!(
            "exec {program} --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir=$(mktemp -d) \
             --remote-debugging-pipe 3<&0 4>&1 >/dev/null 2>&1"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("sh is there");
        let (input, output) = (process.stdin.take().expect("piped"), process.stdout.take().expect("piped"));
        let (output, events) = (BufReader::new(output), Vec::new());
        Some(Browser { process, input, output, sent: 0, events, session: None })
    }

    /// Opens an empty page, which later messages are for.
    pub fn open_page(&mut self) {
        self.session = None;
        let target = self.ask("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = self.ask("Target.attachToTarget", &attach);
        self.session = Some(session["sessionId"].as_str().expect("a name").to_owned());
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Network.enable"] {
            self.ask(domain, &json!({}));
        }
    }

    /// Goes to an address, and waits until everything is there.
    pub fn go_to(&mut self, address: &str) {
        self.events.clear();
        self.ask("Page.navigate", &json!({ "url": address }));
        while !self.events.iter().any(|(name, _)| name == "Page.loadEventFired") {
            self.read();
        }
    }

    /// The value of an expression on the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let answer =
            self.ask("Runtime.evaluate", &json!({ "expression": expression, "returnByValue": true }));
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Events of these names since the page was opened.
    pub fn events(&self, names: &[&str]) -> Vec<&Value> {
        self.events
            .iter()
            .filter(|(name, _)| names.contains(&name.as_str()))
            .map(|(_, event)| event)
            .collect()
    }

    /// Sends a command, and returns its answer.
    pub fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.input.write_all(&bytes).expect("the browser runs");
        loop {
            let message = self.read();
            if message["id"] == self.sent {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    /// Reads a message, and keeps it if it is an event.
    fn read(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.output.read_until(0, &mut bytes).expect("the browser runs");
        assert_eq!(bytes.pop(), Some(0), "the browser has ended");
        let message: Value = serde_json::from_slice(&bytes).expect("JSON");
        if let Some(name) = message["method"].as_str() {
            self.events.push((name.to_owned(), message["params"].clone()));
        }
        message
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _: std::io::Result<()> = self.process.kill();
        let _: std::io::Result<_> = self.process.wait();
    }
}
