//! Scales and axes of the drawings: plain SVG, sized so that its text is as large as the page's on a phone
//! and on a desk alike.
//!
//! Written here and not taken from a plotting crate: those draw with fixed colours and fonts, and these
//! drawings have to follow the page's light and dark.

use maud::{Markup, html};

/// A linear scale from numbers to places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    from: (f64, f64),
    to: (f64, f64),
}

impl Scale {
    /// Puts `from.0` at `to.0` and `from.1` at `to.1`. An empty range puts everything into the middle.
    pub(super) const fn new(from: (f64, f64), to: (f64, f64)) -> Self {
        Self { from, to }
    }

    /// Where `value` is, kept inside the drawing.
    pub(super) fn at(self, value: f64) -> f64 {
        let span = self.from.1 - self.from.0;
        let part = if span == 0.0 { 0.5 } else { ((value - self.from.0) / span).clamp(0.0, 1.0) };
        self.to.0 + part * (self.to.1 - self.to.0)
    }
}

/// A place with one digit after the point: enough for a screen, and the same bytes everywhere.
pub(super) fn px(place: f64) -> String {
    let text = format!("{place:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Round numbers from `low` to `high`, at most `most` of them.
pub(super) fn ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 || most < 2 {
        return vec![low];
    }
    let raw = span / (most - 1) as f64;
    let power = 10_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= raw * 0.999)
        .unwrap_or(raw);
    let first = (low / step - 1e-9).ceil();
    let count = ((high / step + 1e-9).floor() - first).max(0.0) as usize + 1;
    (0..count.min(most + 1)).map(|index| (first + index as f64) * step).collect()
}

/// A tick's number, without digits it does not need.
pub(super) fn tick(value: f64) -> String {
    if (value - value.round()).abs() < 1e-9 {
        return format!("{value:.0}");
    }
    let text = format!("{value:.2}");
    text.trim_end_matches('0').to_owned()
}

/// Pushes labels apart that would cover each other, keeping their order; none leaves `room`.
pub(super) fn apart(places: &[f64], least: f64, room: (f64, f64)) -> Vec<f64> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|a, b| places[*a].total_cmp(&places[*b]));
    let mut moved = places.to_vec();
    let mut floor = room.0;
    for index in &order {
        moved[*index] = moved[*index].max(floor);
        floor = moved[*index] + least;
    }
    let mut ceiling = room.1;
    for index in order.iter().rev() {
        moved[*index] = moved[*index].min(ceiling);
        ceiling = moved[*index] - least;
    }
    moved
}

/// The mark of a series' point: another shape for another series, so that colour is not needed.
pub(super) fn mark(series: &str, x: f64, y: f64, says: &str) -> Markup {
    let class = format!("mark {series}");
    html! {
        @match series.split(' ').next().unwrap_or(series) {
            "reference" => rect class=(class) x=(px(x - 2.8)) y=(px(y - 2.8)) width="5.6" height="5.6" { title { (says) } },
            "peer-0" | "peer-3" => path class=(class) d={ "M" (px(x)) " " (px(y - 3.8)) "l3.8 6.6h-7.6z" } { title { (says) } },
            "peer-1" => path class=(class) d={ "M" (px(x)) " " (px(y - 4.0)) "l4 4-4 4-4-4z" } { title { (says) } },
            _ => circle class=(class) cx=(px(x)) cy=(px(y)) r="3" { title { (says) } },
        }
    }
}

/// A line through points.
pub(super) fn path(series: &str, points: &[(f64, f64)]) -> Markup {
    let mut d = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        d.push_str(if index == 0 { "M" } else { "L" });
        d.push_str(&format!("{} {}", px(*x), px(*y)));
    }
    html! { path class={ "line " (series) } d=(d) {} }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(0.0, 101.0, 4), [0.0, 50.0, 100.0]);
        assert_eq!(ticks(0.0, 90.0, 4), [0.0, 50.0]);
        let said: Vec<String> = ticks(0.8, 1.6, 5).into_iter().map(tick).collect();
        assert_eq!(said, ["0.8", "1", "1.2", "1.4", "1.6"]);
        assert_eq!(ticks(1.0, 1.0, 4), [1.0]);
        assert_eq!(ticks(0.0, f64::NAN, 4), [0.0]);
        assert!(ticks(1e-9, 1e9, 4).len() <= 5);
    }

    #[test]
    fn labels_do_not_cover_each_other() {
        let moved = apart(&[50.0, 52.0, 51.0], 10.0, (0.0, 100.0));
        assert_eq!(moved, [50.0, 70.0, 60.0]);
        let moved = apart(&[99.0, 98.0], 10.0, (0.0, 100.0));
        assert_eq!(moved, [100.0, 90.0]);
    }

    #[test]
    fn nothing_leaves_the_drawing() {
        let scale = Scale::new((0.0, 10.0), (100.0, 0.0));
        assert_eq!((scale.at(5.0), scale.at(99.0), scale.at(-1.0)), (50.0, 0.0, 100.0));
        assert_eq!(Scale::new((1.0, 1.0), (0.0, 10.0)).at(1.0), 5.0);
    }
}
