//! `report-shots`: report.html as readers have it, in light and dark, on a desk, on a phone and on paper.
//!
//! A template can be right and the page unusable: too wide for a phone, grey on grey, blank in the dark. Only a
//! browser knows, so one is asked. Where there is none, that is said and nothing fails, unless `--require`:
//! the plain tests need no browser.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reports::report::ExitCode;
use serde_json::Value;
use vmimage::fsio;

use crate::browser::{self, Chromium, Paper, Screen, Tab};
use crate::cli::ReportShotsArgs;
use crate::error::Error;
use crate::{task_report, workspace};

const MEASURE: &str = include_str!("browser/measure.js");
const FILTER: &str = include_str!("browser/filter.js");
/// Height of a picture; what is below repeats what is above.
const PICTURE_HEIGHT_MAX: f64 = 12_000.0;
const A4: Paper = Paper { width_in: 8.27, height_in: 11.69 };
/// The name of the page that shows kernels side by side.
const MATRIX: &str = "matrix";
/// A4 less the margins of the print style, in CSS pixels.
const A4_TEXT_WIDTH: u32 = 687;
/// Colours that a picture of text has at least, antialiasing counted; a blank one has 1.
const COLOURS_MIN: u64 = 16;

const SCREENS: [(&str, Screen); 4] = [
    ("desk-light", Screen { width: 1280, height: 900, scale: 1.0, dark: false }),
    ("desk-dark", Screen { width: 1280, height: 900, scale: 1.0, dark: true }),
    ("phone-light", Screen { width: 390, height: 844, scale: 2.0, dark: false }),
    ("phone-dark", Screen { width: 390, height: 844, scale: 2.0, dark: true }),
];

pub(crate) fn run(args: &ReportShotsArgs) -> Result<ExitCode, Error> {
    let Some(program) = args.chromium.clone().or_else(browser::find) else {
        let message = "no Chromium on PATH; `apt install chromium`, or --chromium PROGRAM";
        if args.require {
            return Err(Error::infrastructure(message));
        }
        anstream::println!("report-shots: SKIPPED: {message}");
        return Ok(ExitCode::Passed);
    };
    let folder = args.output.clone().unwrap_or_else(|| workspace::root().join("artifacts/shots"));
    std::fs::create_dir_all(&folder).map_err(Error::infrastructure)?;
    let folder = folder.canonicalize().map_err(Error::infrastructure)?;
    let profile = tempfile::tempdir().map_err(Error::infrastructure)?;
    let mut chromium = Chromium::start(&program, profile.path())?;
    let mut complaints = Vec::new();
    for (name, inputs) in pages(args)? {
        let file = folder.join(format!("{name}.html"));
        let loaded = task_report::load(&inputs)?;
        let text = match name == MATRIX {
            true => crate::task_vm_matrix::page(loaded)?,
            false => task_report::render(&loaded, &file)?,
        };
        std::fs::write(&file, text).map_err(Error::infrastructure)?;
        let mut tab = chromium.tab()?;
        look(&mut tab, &name, &file, &mut complaints)?;
    }
    anstream::println!("report-shots: {}", folder.display());
    if complaints.is_empty() {
        return Ok(ExitCode::Passed);
    }
    for complaint in &complaints {
        anstream::println!("report-shots: {complaint}");
    }
    Err(Error::failed(format!("report-shots found {} things", complaints.len())))
}

/// The pages to look at: one of what was named, else one of each folder of the tests.
fn pages(args: &ReportShotsArgs) -> Result<Vec<(String, Vec<PathBuf>)>, Error> {
    if !args.inputs.is_empty() {
        let name = if args.matrix { MATRIX } else { "report" };
        return Ok(vec![(name.to_owned(), args.inputs.clone())]);
    }
    let folder = workspace::root().join("reports/tests/pages");
    let entries = folder.read_dir().map_err(Error::infrastructure)?;
    let mut pages: Vec<(String, Vec<PathBuf>)> = entries
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), vec![entry.path()]))
        .collect();
    pages.push((MATRIX.to_owned(), vec![folder.join("kernels-and-history/now")]));
    pages.sort();
    Ok(pages)
}

fn look(
    tab: &mut Tab<'_>,
    name: &str,
    file: &Path,
    complaints: &mut Vec<String>,
) -> Result<(), Error> {
    for (place, screen) in SCREENS {
        tab.open(file, screen)?;
        let measured = tab.evaluate(MEASURE)?;
        complaints.extend(judge(&measured).into_iter().map(|why| format!("{name} {place}: {why}")));
        if let Some(why) = tab.evaluate(FILTER)?.as_str() {
            complaints.push(format!("{name} {place}: {why}"));
        }
        let picture = tab.picture(PICTURE_HEIGHT_MAX)?;
        save(file, place, "png", &picture)?;
        anstream::println!(
            "report-shots: {name} {place}: {} texts, least contrast {:.2}",
            measured["texts"],
            measured["least_contrast"].as_f64().unwrap_or(0.0)
        );
        let colours = colours(tab, &picture)?;
        if colours < COLOURS_MIN {
            complaints.push(format!("{name} {place}: the picture has {colours} colours"));
        }
    }
    print(tab, name, file, complaints)
}

/// As on paper: nothing cut off, what is red unfolded, ink on white.
fn print(
    tab: &mut Tab<'_>,
    name: &str,
    file: &Path,
    complaints: &mut Vec<String>,
) -> Result<(), Error> {
    let sheet = Screen { width: A4_TEXT_WIDTH, height: 1000, scale: 1.0, dark: true };
    tab.open(file, sheet)?;
    tab.as_printed(true)?;
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")?;
    let measured = tab.evaluate(MEASURE)?;
    // Nothing can be focused on paper, and the bar of sections is gone.
    let found = judge(&measured).into_iter().filter(|why| !why.contains("focus"));
    complaints.extend(found.map(|why| format!("{name} print: {why}")));
    let folded = tab.evaluate(
        "[...document.querySelectorAll('.card.red pre')].filter(pre => !pre.checkVisibility({contentVisibilityAuto: true})).length",
    )?;
    if folded != 0 {
        complaints.push(format!("{name} print: {folded} texts of what is red are folded away"));
    }
    tab.as_printed(false)?;
    let pdf = tab.pdf(A4)?;
    let sheets = pdf.windows(11).filter(|bytes| *bytes == b"/Type /Page").count();
    if !pdf.starts_with(b"%PDF-") || sheets == 0 {
        complaints.push(format!("{name} print: no PDF came, or one without pages"));
    }
    save(file, "print", "pdf", &pdf)
}

/// What is wrong with the measures of a page.
fn judge(measured: &Value) -> Vec<String> {
    // What was not measured is as bad as can be.
    let number = |name: &str| measured[name].as_f64().unwrap_or(-1.0);
    let list = |name: &str| -> Vec<&str> {
        measured[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let mut wrong = Vec::new();
    if number("texts") < 20.0 {
        wrong.push(format!("only {} texts are seen", number("texts")));
    }
    if number("scroll_width") < 0.0 || number("scroll_width") > number("width") {
        let parts = list("wide").join(", ");
        wrong.push(format!(
            "it is {} px wide on {} px: {parts}",
            number("scroll_width"),
            number("width")
        ));
    }
    wrong.extend(list("faint").iter().map(|what| format!("too little contrast: {what}")));
    wrong.extend(list("squeezed").iter().map(|what| format!("too narrow for its text: {what}")));
    wrong.extend(list("loaded").iter().map(|what| format!("it loads {what}")));
    if number("unlabelled") != 0.0 {
        wrong.push(format!("{} parts have no name for a screen reader", number("unlabelled")));
    }
    if measured["script_ran"] != Value::Bool(true) {
        wrong.push("its script does not run; does the policy name its hash?".to_owned());
    }
    if measured["focus_shown"] != Value::Bool(true) {
        wrong.push("keyboard focus cannot be seen".to_owned());
    }
    wrong
}

/// How many colours a picture has, counted by the browser that can decode it.
fn colours(tab: &mut Tab<'_>, png: &[u8]) -> Result<u64, Error> {
    tab.blank()?;
    let data = BASE64_STANDARD.encode(png);
    let script = format!(
        "(async () => {{
            const image = new Image();
            image.src = 'data:image/png;base64,{data}';
            await image.decode();
            const canvas = new OffscreenCanvas(image.width, Math.min(image.height, 2000));
            const ink = canvas.getContext('2d');
            ink.drawImage(image, 0, 0);
            const pixels = new Uint32Array(ink.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
            return new Set(pixels).size;
        }})()"
    );
    Ok(tab.evaluate(&script)?.as_u64().unwrap_or(0))
}

fn save(file: &Path, place: &str, extension: &str, bytes: &[u8]) -> Result<(), Error> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let path = file.with_file_name(format!("{stem}-{place}.{extension}"));
    fsio::write(&path, bytes).map_err(Error::infrastructure)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({
            "texts": 100, "scroll_width": 390, "width": 390, "wide": [], "faint": [], "squeezed": [],
            "loaded": [],
            "unlabelled": 0, "script_ran": true, "focus_shown": true,
        })
    }

    #[test]
    fn each_measure_can_be_wrong() {
        assert_eq!(judge(&good()), Vec::<String>::new());
        for (name, value) in [
            ("texts", json!(0)),
            ("scroll_width", json!(391)),
            ("faint", json!(["p 2.00"])),
            ("squeezed", json!(["td.end"])),
            ("loaded", json!(["somewhere"])),
            ("unlabelled", json!(1)),
            ("script_ran", json!(false)),
            ("focus_shown", json!(false)),
            ("width", Value::Null),
            ("scroll_width", Value::Null),
            ("texts", Value::Null),
        ] {
            let mut measured = good();
            measured[name] = value;
            assert_eq!(judge(&measured).len(), 1, "{name}");
        }
    }

    #[test]
    fn there_are_pages_to_look_at() {
        for (name, inputs) in pages(&ReportShotsArgs::default()).unwrap() {
            assert!(!task_report::load(&inputs).unwrap().is_empty(), "{name}");
        }
    }
}
