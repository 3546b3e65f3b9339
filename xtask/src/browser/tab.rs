//! One tab: a page on a certain screen, its measures, its picture.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::process::Chromium;
use crate::error::Error;

/// What the page is shown on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    /// Width in CSS pixels.
    pub(crate) width: u32,
    /// Height in CSS pixels.
    pub(crate) height: u32,
    /// Device pixels for each of them.
    pub(crate) scale: f64,
    /// Whether the reader prefers dark.
    pub(crate) dark: bool,
}

/// What the page is printed on, in inches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paper {
    pub(crate) width_in: f64,
    pub(crate) height_in: f64,
}

/// A page in the browser.
pub(crate) struct Tab<'a> {
    browser: &'a mut Chromium,
    session: String,
}

impl<'a> Tab<'a> {
    pub(super) fn new(browser: &'a mut Chromium, session: String) -> Result<Self, Error> {
        let mut tab = Self { browser, session };
        tab.call("Page.enable", &json!({}))?;
        tab.call("Network.enable", &json!({}))?;
        Ok(tab)
    }

    fn call(&mut self, method: &str, params: &Value) -> Result<Value, Error> {
        self.browser.call(Some(&self.session), method, params)
    }

    /// Loads a file on a screen, and waits until it is there.
    pub(crate) fn open(&mut self, file: &Path, screen: Screen) -> Result<(), Error> {
        let scheme = if screen.dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"media": "", "features": features}))?;
        let metrics = json!({
            "width": screen.width, "height": screen.height, "deviceScaleFactor": screen.scale,
            "mobile": screen.width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", &metrics)?;
        let url = format!("file://{}", file.display());
        let went = self.call("Page.navigate", &json!({"url": url}))?;
        if let Some(error) = went["errorText"].as_str().filter(|text| !text.is_empty()) {
            return Err(Error::infrastructure(format!("the browser cannot open {url}: {error}")));
        }
        self.browser.event(&self.session, "Page.loadEventFired")
    }

    /// Leaves the page, and its policy with it.
    pub(crate) fn blank(&mut self) -> Result<(), Error> {
        self.call("Page.navigate", &json!({"url": "about:blank"}))?;
        self.browser.event(&self.session, "Page.loadEventFired")
    }

    /// Shows the page as it is printed, or as it is on a screen again.
    pub(crate) fn as_printed(&mut self, printed: bool) -> Result<(), Error> {
        let media = if printed { "print" } else { "" };
        self.call("Emulation.setEmulatedMedia", &json!({"media": media, "features": []})).map(drop)
    }

    /// The value of an expression in the page.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Result<Value, Error> {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", &params)?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            let what = thrown["exception"]["description"].as_str().unwrap_or("an exception");
            return Err(Error::infrastructure(format!("the page threw {what}")));
        }
        Ok(answer["result"]["value"].clone())
    }

    /// A PNG of the page: the whole of it down to `height_max` CSS pixels.
    pub(crate) fn picture(&mut self, height_max: f64) -> Result<Vec<u8>, Error> {
        let metrics = self.call("Page.getLayoutMetrics", &json!({}))?;
        let size = &metrics["cssContentSize"];
        let height = size["height"].as_f64().unwrap_or(height_max).min(height_max);
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1});
        let params = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let answer = self.call("Page.captureScreenshot", &params)?;
        decoded(&answer["data"])
    }

    /// A PDF of the page.
    pub(crate) fn pdf(&mut self, paper: Paper) -> Result<Vec<u8>, Error> {
        let params = json!({
            "paperWidth": paper.width_in, "paperHeight": paper.height_in,
            "printBackground": false, "preferCSSPageSize": false,
        });
        let answer = self.call("Page.printToPDF", &params)?;
        decoded(&answer["data"])
    }
}

fn decoded(data: &Value) -> Result<Vec<u8>, Error> {
    let text = data.as_str().ok_or_else(|| Error::infrastructure("the browser sent no picture"))?;
    BASE64_STANDARD.decode(text).map_err(Error::infrastructure)
}
