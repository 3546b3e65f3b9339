//! The browser's process, and the pipe on which it takes commands.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::tab::Tab;
use crate::error::Error;

/// How long one command may take, a first start on a loaded machine included.
const ANSWER_MS_MAX: u64 = 60_000;
/// How long the browser may take to leave.
const LEAVE_MS_MAX: u64 = 5_000;

/// A running browser. Killed when it is dropped.
pub(crate) struct Chromium {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    last_id: u64,
}

impl Chromium {
    /// Starts `program` with a profile of its own in `profile`.
    pub(crate) fn start(program: &Path, profile: &Path) -> Result<Self, Error> {
        // The protocol is on descriptors 3 and 4; a shell puts our two pipes there without any unsafe code.
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 0</dev/null 1>/dev/null"#])
            .arg(program)
            .args(["--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu"])
            .args(["--no-default-browser-check", "--disable-extensions", "--mute-audio"])
            // It shows files that we wrote, and root has no sandbox otherwise; nothing is loaded from elsewhere.
            .args(["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"])
            .args(["--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars"])
            .args(["--font-render-hinting=none", "--force-color-profile=srgb"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| {
                Error::infrastructure(format!("cannot start {}: {e}", program.display()))
            })?;
        let (Some(commands), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::infrastructure("the browser has no pipes"));
        };
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            let messages = BufReader::new(answers).split(0).map_while(Result::ok);
            for message in messages.filter_map(|bytes| serde_json::from_slice(&bytes).ok()) {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, commands, messages, last_id: 0 })
    }

    /// A new, empty tab.
    pub(crate) fn tab(&mut self) -> Result<Tab<'_>, Error> {
        let target = self.call(None, "Target.createTarget", &json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = self.call(None, "Target.attachToTarget", &attach)?;
        let session = session["sessionId"].as_str().unwrap_or_default().to_owned();
        Tab::new(self, session)
    }

    /// Sends one command and waits for its answer; what else the browser says meanwhile is dropped.
    pub(super) fn call(
        &mut self,
        session: Option<&str>,
        method: &str,
        params: &Value,
    ) -> Result<Value, Error> {
        self.last_id += 1;
        let mut command = json!({"id": self.last_id, "method": method, "params": params});
        if let Some(session) = session {
            command["sessionId"] = json!(session);
        }
        let mut line = command.to_string().into_bytes();
        line.push(0);
        let broken = |why: &str| Error::infrastructure(format!("the browser {why} at {method}"));
        self.commands.write_all(&line).map_err(|_| broken("has gone away"))?;
        let wanted = self.last_id;
        let answer = self.wait(method, |message| message["id"] == json!(wanted))?;
        match answer.get("error") {
            Some(error) => Err(broken(&format!("said {}", error["message"]))),
            None => Ok(answer["result"].clone()),
        }
    }

    /// Waits for an event of a session.
    pub(super) fn event(&mut self, session: &str, method: &str) -> Result<(), Error> {
        let wanted = |m: &Value| m["method"] == json!(method) && m["sessionId"] == json!(session);
        self.wait(method, wanted).map(drop)
    }

    fn wait(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value, Error> {
        let deadline = Instant::now() + Duration::from_millis(ANSWER_MS_MAX);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(left) {
                Ok(message) if wanted(&message) => return Ok(message),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    let message =
                        format!("the browser did not answer {what} in {ANSWER_MS_MAX} ms");
                    return Err(Error::infrastructure(message));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::infrastructure(format!("the browser ended at {what}")));
                }
            }
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Asked first: a killed browser leaves its helpers behind.
        let close = json!({"id": self.last_id + 1, "method": "Browser.close"}).to_string() + "\0";
        let _ = self.commands.write_all(close.as_bytes());
        let deadline = Instant::now() + Duration::from_millis(LEAVE_MS_MAX);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
