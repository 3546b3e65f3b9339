//! fio's steady-state detection: whether the numbers of a job had settled.

use crate::units::{BytesPerSec, Iops, Nanos};
use crate::walk::{FieldError, Node, Scalar, UnknownFields};

/// Result of `steadystate=`, with the samples it was judged by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SteadyState {
    /// The criterion as fio repeats it, as `iops:50.000000%`.
    pub definition: String,
    /// Window in seconds.
    pub duration_s: u64,
    /// Whether it was reached.
    pub attained: bool,
    /// Value of the criterion at the end, as text with its unit.
    pub criterion: String,
    /// Largest deviation from the mean within the window.
    pub max_deviation: f64,
    /// Slope of the regression line, for slope criteria.
    pub slope: f64,
    /// Mean bandwidth of the window. fio calls it `bw_mean`; unlike the field of that name in a
    /// direction it counts bytes.
    pub bandwidth_mean: Option<BytesPerSec>,
    /// Mean IOPS of the window.
    pub iops_mean: Option<Iops>,
    /// Mean latency of the window. Available since fio 3.42.
    pub lat_mean: Option<Nanos<f64>>,
    /// Bandwidth of each interval, in bytes per second.
    pub bandwidth: Vec<BytesPerSec>,
    /// IOPS of each interval.
    pub iops: Vec<Iops>,
    /// Latency of each interval. Available since fio 3.42.
    pub lat: Vec<Nanos<f64>>,
}

impl SteadyState {
    pub(crate) fn read(node: Node, unknown: &mut UnknownFields) -> Result<Self, FieldError> {
        let mut object = node.object()?;
        let mut state = Self {
            definition: object.required("ss")?,
            duration_s: object.required("duration")?,
            attained: object.required::<u64>("attained")? != 0,
            criterion: object.required("criterion")?,
            max_deviation: object.required("max_deviation")?,
            slope: object.required("slope")?,
            ..Self::default()
        };
        if let Some(data) = object.take("data") {
            state.read_data(data, unknown)?;
        }
        object.finish(unknown);
        Ok(state)
    }

    fn read_data(&mut self, node: Node, unknown: &mut UnknownFields) -> Result<(), FieldError> {
        let mut data = node.object()?;
        self.bandwidth_mean = data.optional("bw_mean")?;
        self.iops_mean = data.optional("iops_mean")?;
        self.lat_mean = data.optional("lat_mean")?;
        self.bandwidth = data.optional_with("bw", series)?.unwrap_or_default();
        self.iops = data.optional_with("iops", series)?.unwrap_or_default();
        self.lat = data.optional_with("lat_ns", series)?.unwrap_or_default();
        data.finish(unknown);
        Ok(())
    }
}

fn series<T: Scalar>(node: Node) -> Result<Vec<T>, FieldError> {
    node.array()?.into_iter().map(Node::scalar).collect()
}
