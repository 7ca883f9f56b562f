//! Devices: the only file that names Burn's backends.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{Device as BurnDevice, Tensor};

use crate::{Error, Result};

/// What the user asked for: `auto`, `wgpu`, `wgpu:N`, `flex` or `ndarray`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A real GPU where there is one, the fastest CPU backend otherwise.
    #[default]
    Auto,
    /// The N-th WGPU adapter as [`list`] counts them.
    Wgpu(usize),
    /// The CPU through `burn-flex`.
    Flex,
    /// The CPU through `burn-ndarray`.
    Ndarray,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None => match text {
                "auto" => Ok(Self::Auto),
                "wgpu" => Ok(Self::Wgpu(0)),
                "flex" => Ok(Self::Flex),
                "ndarray" => Ok(Self::Ndarray),
                _ => Err(unknown(text)),
            },
            Some(("wgpu", index)) => match index.parse() {
                Ok(index) => Ok(Self::Wgpu(index)),
                Err(_) => Err(unknown(text)),
            },
            Some(_) => Err(unknown(text)),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Wgpu(index) => write!(f, "wgpu:{index}"),
            Self::Flex => f.write_str("flex"),
            Self::Ndarray => f.write_str("ndarray"),
        }
    }
}

fn unknown(text: &str) -> String {
    let valid = ["auto", "wgpu", "wgpu:0", "flex", "ndarray"];
    let near = tesla_data::nearest(text, &valid)
        .map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
    format!(
        "`{text}` is not a device{near}: expected `auto`, `wgpu`, `wgpu:N`, `flex` or `ndarray`"
    )
}

/// An opened device.
#[derive(Clone, Debug)]
pub struct Device {
    burn: BurnDevice,
    name: &'static str,
    note: Option<String>,
}

impl Device {
    /// Opens the device that was asked for.
    ///
    /// # Errors
    /// When it is not there or not part of this build. `auto` always finds one.
    pub fn open(choice: DeviceChoice) -> Result<Self> {
        match choice {
            DeviceChoice::Auto => auto(),
            DeviceChoice::Wgpu(index) => wgpu(index),
            DeviceChoice::Flex => flex(),
            DeviceChoice::Ndarray => ndarray(),
        }
    }

    /// Whether it computes on the CPU, so that reading a result waits for nothing else.
    pub fn is_cpu(&self) -> bool {
        self.name != "wgpu"
    }

    /// The backend: `wgpu`, `flex` or `ndarray`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What the user should know about the choice, such as why `auto` took the CPU.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The device tensors are made on.
    pub fn burn(&self) -> &BurnDevice {
        &self.burn
    }

    fn new(burn: BurnDevice, name: &'static str) -> Self {
        Self {
            burn,
            name,
            note: None,
        }
    }
}

/// One line of `tesla devices`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// What to say after `--device`.
    pub choice: String,
    /// The device as it names itself.
    pub description: String,
}

/// Every device this build can use on this machine. Opens none of them.
pub fn list() -> Vec<DeviceInfo> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut devices = Vec::new();
    #[cfg(feature = "wgpu")]
    for (index, adapter) in adapters().iter().enumerate() {
        devices.push(DeviceInfo {
            choice: format!("wgpu:{index}"),
            description: adapter.description.clone(),
        });
    }
    if cfg!(feature = "flex") {
        devices.push(DeviceInfo {
            choice: "flex".into(),
            description: format!("CPU, {threads} threads (recommended CPU backend)"),
        });
    }
    if cfg!(feature = "ndarray") {
        devices.push(DeviceInfo {
            choice: "ndarray".into(),
            description: format!("CPU, {threads} threads (burn-ndarray)"),
        });
    }
    devices
}

/// The numbers of a tensor on the host, row-major. `what` names them in the message, such as "weights".
///
/// # Errors
/// When the device does not deliver them.
pub fn to_host<const D: usize>(tensor: Tensor<D>, what: &str) -> Result<Vec<f32>> {
    let data = tensor.try_into_data_as::<f32>();
    data.and_then(|data| Ok(data.try_into_vec::<f32>()?))
        .map_err(|e| Error::Device(format!("the device did not deliver the {what}: {e}")))
}

/// Why an `auto` or `wgpu` request found no GPU.
#[cfg(feature = "wgpu")]
const NO_GPU: &str = "no GPU adapter was found";
#[cfg(not(feature = "wgpu"))]
const NO_GPU: &str = "this build has no `wgpu` feature";

fn auto() -> Result<Device> {
    #[cfg(feature = "wgpu")]
    if let Some(index) = adapters().iter().position(|a| !a.is_cpu) {
        return wgpu(index);
    }
    let mut device = flex().or_else(|_| ndarray()).map_err(|_| {
        Error::Device(format!("{NO_GPU}, and this build has neither `flex` nor `ndarray`"))
    })?;
    device.note = Some(format!("{NO_GPU}: using the CPU ({})", device.name));
    Ok(device)
}

#[cfg(feature = "flex")]
fn flex() -> Result<Device> {
    Ok(Device::new(BurnDevice::flex(), "flex"))
}

#[cfg(not(feature = "flex"))]
fn flex() -> Result<Device> {
    Err(absent("flex"))
}

#[cfg(feature = "ndarray")]
fn ndarray() -> Result<Device> {
    // burn-ndarray is deprecated upstream and still promised to users of this version.
    #[allow(deprecated)]
    let device = BurnDevice::ndarray();
    Ok(Device::new(device, "ndarray"))
}

#[cfg(not(feature = "ndarray"))]
fn ndarray() -> Result<Device> {
    Err(absent("ndarray"))
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(_index: usize) -> Result<Device> {
    Err(absent("wgpu"))
}

#[cfg(not(all(feature = "flex", feature = "ndarray", feature = "wgpu")))]
fn absent(name: &str) -> Error {
    Error::Device(format!(
        "this build has no `{name}` backend: build it with `--features {name}`, or choose one of `tesla devices`"
    ))
}

#[cfg(feature = "wgpu")]
fn wgpu(index: usize) -> Result<Device> {
    let adapters = adapters();
    let adapter = adapters.get(index).ok_or_else(|| {
        Error::Device(match adapters.len() {
            0 => format!("{NO_GPU} for `wgpu`: use `--device flex`, or see `tesla devices`"),
            n => format!(
                "`wgpu:{index}` is not there: the last of `tesla devices` is `wgpu:{}`",
                n - 1
            ),
        })
    })?;
    let mut device = Device::new(adapter.open()?, "wgpu");
    if adapter.is_cpu {
        device.note = Some(format!(
            "`{}` is a software renderer on the CPU: `--device flex` is much faster",
            adapter.description
        ));
    }
    Ok(device)
}

#[cfg(feature = "wgpu")]
struct Adapter {
    kind: burn::tensor::DeviceKind,
    description: String,
    is_cpu: bool,
    /// Opened at first use, and once: the runtime refuses a second initialisation.
    device: std::sync::OnceLock<Result<BurnDevice, String>>,
}

#[cfg(feature = "wgpu")]
impl Adapter {
    fn open(&self) -> Result<BurnDevice> {
        let open = || {
            let options = BurnDevice::wgpu_options().device_kind(self.kind.clone());
            options.init().map_err(|e| e.to_string())
        };
        self.device
            .get_or_init(open)
            .clone()
            .map_err(|e| Error::Device(format!("`{}` cannot be opened: {e}", self.description)))
    }
}

/// All adapters of the graphics API that comes first on this machine, real GPUs first.
#[cfg(feature = "wgpu")]
fn adapters() -> &'static [Adapter] {
    use burn::tensor::DeviceKind;
    use burn::tensor::wgpu::wgpu::{Backends, DeviceType, Instance, InstanceDescriptor};

    static ADAPTERS: std::sync::OnceLock<Vec<Adapter>> = std::sync::OnceLock::new();
    ADAPTERS.get_or_init(|| {
        let instance = Instance::new(InstanceDescriptor {
            backends: Backends::PRIMARY,
            ..InstanceDescriptor::new_without_display_handle()
        });
        let found: Vec<_> = ready(instance.enumerate_adapters(Backends::PRIMARY))
            .iter()
            .map(|adapter| adapter.get_info())
            .collect();
        let api = found.first().map(|info| info.backend);
        let kinds = [
            (DeviceType::DiscreteGpu, DeviceKind::DiscreteGpu as fn(usize) -> DeviceKind),
            (DeviceType::IntegratedGpu, DeviceKind::IntegratedGpu),
            (DeviceType::VirtualGpu, DeviceKind::VirtualGpu),
            (DeviceType::Cpu, |_| DeviceKind::Cpu),
        ];
        kinds
            .into_iter()
            .flat_map(|(device_type, kind)| {
                found
                    .iter()
                    .filter(move |info| {
                        Some(info.backend) == api && info.device_type == device_type
                    })
                    .enumerate()
                    .map(move |(index, info)| Adapter {
                        kind: kind(index),
                        description: format!(
                            "{} ({:?}, {:?})",
                            info.name, info.device_type, info.backend
                        ),
                        is_cpu: device_type == DeviceType::Cpu,
                        device: std::sync::OnceLock::new(),
                    })
            })
            .collect()
    })
}

/// The value of a future that is ready at once, as adapter enumeration is outside of a browser.
#[cfg(feature = "wgpu")]
fn ready<T: Default>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => T::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_parse_and_print() {
        for text in ["auto", "wgpu:3", "flex", "ndarray"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        let error = "wgpo".parse::<DeviceChoice>().unwrap_err();
        assert!(error.contains("did you mean `wgpu`?"), "{error}");
        assert!("cuda:0".parse::<DeviceChoice>().is_err());
    }
}
