//! A headless Chromium, driven through its DevTools protocol over a pipe.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value as Json, json};

/// The variable that names the browser's program; `scripts/fetch-chromium.sh` prints it.
pub const VARIABLE: &str = "MODEL_BUILD_CHROMIUM";

/// The browser, if the variable names one.
pub fn program() -> Option<PathBuf> {
    std::env::var_os(VARIABLE).map(PathBuf::from)
}

/// A page of a running browser, which ends with it.
pub struct Page {
    browser: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    next: u64,
    session: Option<String>,
    /// Errors and warnings that the page or the browser logged, and uncaught exceptions.
    pub complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

/// A picture: rows of RGB.
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    rgb: Vec<u8>,
}

impl Picture {
    /// Decodes a PNG of 8 bits per channel.
    pub fn of_png(bytes: &[u8]) -> Self {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut buffer = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut buffer).unwrap();
        let channels = info.color_type.samples();
        assert_eq!(info.bit_depth, png::BitDepth::Eight);
        let pixels = buffer[..info.buffer_size()].chunks(channels);
        let rgb = pixels.flat_map(|pixel| pixel[..3].to_vec()).collect();
        Self { width: info.width as usize, height: info.height as usize, rgb }
    }

    /// How many pixels of a rectangle (left, top, width, height) have a colour, give or take 3 of
    /// each channel.
    pub fn count(&self, (x, y, w, h): (usize, usize, usize, usize), colour: [u8; 3]) -> usize {
        let near = |pixel: &[u8]| pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) <= 3);
        (y..(y + h).min(self.height))
            .flat_map(|row| {
                (x..(x + w).min(self.width)).map(move |column| row * self.width + column)
            })
            .filter(|at| near(&self.rgb[at * 3..at * 3 + 3]))
            .count()
    }
}

impl Page {
    /// Starts the browser with an empty page.
    pub fn start(program: &std::path::Path) -> Self {
        let profile = tempfile::tempdir().unwrap();
        // The browser reads commands from descriptor 3 and answers on 4; the shell puts them there.
        let mut browser = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 1>/dev/null 2>/dev/null </dev/null", "sh"])
            .arg(program)
            .args(["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking"])
            .args([
                "--disable-component-update",
                "--hide-scrollbars",
                "--force-device-scale-factor=1",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (browser.stdin.take().unwrap(), browser.stdout.take().unwrap());
        let mut page = Self {
            browser,
            to,
            from: BufReader::new(from),
            next: 0,
            session: None,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = page.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = page.call("Target.attachToTarget", &attach);
        page.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            page.call(&format!("{domain}.enable"), &json!({}));
        }
        page
    }

    /// Sends a command and waits for its answer.
    pub fn call(&mut self, method: &str, params: &Json) -> Json {
        self.next += 1;
        let mut message = json!({ "id": self.next, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        self.to.flush().unwrap();
        loop {
            let answer = self.read();
            if answer["id"] == self.next {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    /// The next message; what complains is kept.
    fn read(&mut self) -> Json {
        let mut bytes = Vec::new();
        let length = self.from.read_until(0, &mut bytes).unwrap();
        assert!(length > 0, "the browser went away");
        let message: Json = serde_json::from_slice(&bytes[..length - 1]).unwrap();
        let params = &message["params"];
        let bad = match message["method"].as_str() {
            Some("Log.entryAdded") => params["entry"]["level"] != "verbose",
            Some("Runtime.consoleAPICalled") => {
                params["type"] == "error" || params["type"] == "warning"
            }
            Some("Runtime.exceptionThrown") => true,
            _ => false,
        };
        if bad {
            self.complaints.push(params.to_string());
        }
        message
    }

    /// Opens an address and waits until it is loaded.
    pub fn open(&mut self, address: &str) {
        self.call("Page.navigate", &json!({ "url": address }));
        while self.read()["method"] != "Page.loadEventFired" {}
    }

    /// Sets the width and what the user prefers: `light` or `dark`.
    pub fn look(&mut self, width: u32, scheme: &str) {
        let size =
            json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let feature = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &feature);
    }

    /// The value of an expression in the page.
    pub fn evaluate(&mut self, expression: &str) -> Json {
        let params = json!({ "expression": expression, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", &params);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// A picture of the whole page, as PNG.
    pub fn picture(&mut self) -> Vec<u8> {
        let params = json!({ "format": "png", "captureBeyondViewport": true });
        let size = self.call("Page.getLayoutMetrics", &json!({}));
        let size = &size["cssContentSize"];
        let clip =
            json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
        let mut params = params;
        params["clip"] = clip;
        let answer = self.call("Page.captureScreenshot", &params);
        from_base64(answer["data"].as_str().unwrap())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => u32::from(c - b'A'),
        b'a'..=b'z' => u32::from(c - b'a') + 26,
        b'0'..=b'9' => u32::from(c - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|c| *c != b'=').collect();
    let mut out = Vec::new();
    for four in digits.chunks(4) {
        let bits = four.iter().fold(0, |bits, c| bits << 6 | value(*c)) << (6 * (4 - four.len()));
        out.extend(&bits.to_be_bytes()[1..four.len()]);
    }
    out
}
