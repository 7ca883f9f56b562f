//! Networks of a user's own: any Burn module, behind one trait and under a name.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    Param,
};
use burn::tensor::{Bool, Device as BurnDevice, Int, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Batch, Signature};
use crate::{Device, Error, Result};

/// A network of a user's own. [`register`] gives it a name, under which `[model]` asks for it and a
/// bundle finds it again.
///
/// Weights are parameters of the module; what is not a parameter is not stored. Fresh weights are drawn
/// by TESLA, from the run's seed, as PyTorch draws those of linear layers and convolutions.
pub trait CustomNetwork: Module + Sync + 'static {
    /// One pass: class scores before softmax, or the number in the target's standardised unit.
    ///
    /// # Shapes
    /// - input: `[rows, ..signature.input]`
    /// - output: `[rows, signature.outputs]`
    fn forward(&self, batch: Batch) -> Tensor<2>;

    /// Starts generators of chance anew, as a function of `seed` and of the `step` that comes next. Needed
    /// only by networks that draw while training; without it a resumed run may end with other weights.
    fn reseed(&self, _seed: u64, _step: u64) {}
}

/// A network that the program has registered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CustomConfig {
    /// The name it is registered under.
    pub name: String,
    /// What it is built with; its own code says what is valid.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub settings: Value,
}

type Builder = Arc<dyn Fn(&Signature, &Value, &Device) -> Result<Box<dyn Erased>> + Send + Sync>;

static REGISTERED: RwLock<BTreeMap<String, Builder>> = RwLock::new(BTreeMap::new());

/// Makes a network known under `name`, for `kind = "custom"` in `[model]`. `build` gets the shapes of input and
/// output and the `settings` of `[model]`; it must build the same shapes from the same settings, since
/// stored weights are filled in later. Registering a name again replaces it.
pub fn register<N: CustomNetwork>(
    name: &str,
    build: impl Fn(&Signature, &Value, &Device) -> Result<N> + Send + Sync + 'static,
) {
    let builder: Builder = Arc::new(move |signature, settings, device| {
        Ok(Box::new(build(signature, settings, device)?))
    });
    let mut all = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    all.insert(name.into(), builder);
}

impl CustomConfig {
    pub(super) fn init(&self, signature: &Signature, device: &Device) -> Result<Custom> {
        let all = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
        let Some(build) = all.get(&self.name).cloned() else {
            let known = all.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>();
            let known = match known.is_empty() {
                true => "none is".into(),
                false => format!("{} is", known.join(", ")),
            };
            return Err(Error::Model(format!(
                "no network is registered as `{}` ({known}): the program has to call `register` before it trains or loads this model",
                self.name
            )));
        };
        // `build` may register networks of its own.
        drop(all);
        Ok(Custom(build(signature, &self.settings, device)?))
    }
}

/// A registered network, its type forgotten.
#[derive(Debug)]
pub struct Custom(Box<dyn Erased>);

impl Custom {
    pub(super) fn forward(&self, batch: Batch) -> Tensor<2> {
        self.0.scores(batch)
    }

    pub(super) fn reseed(&self, seed: u64, step: u64) {
        self.0.restart(seed, step);
    }
}

/// What a [`CustomNetwork`] can do, without generics, so that a box can hold any of them.
trait Erased: fmt::Debug + Send + Sync {
    fn again(&self) -> Box<dyn Erased>;
    fn scores(&self, batch: Batch) -> Tensor<2>;
    fn restart(&self, seed: u64, step: u64);
    fn devices_and(&self, devices: Devices) -> Devices;
    fn forked(self: Box<Self>, device: &BurnDevice) -> Box<dyn Erased>;
    fn moved(self: Box<Self>, device: &BurnDevice) -> Box<dyn Erased>;
    fn recording(self: Box<Self>) -> Box<dyn Erased>;
    fn plain(&self) -> Box<dyn Erased>;
    fn made(self: Box<Self>) -> Box<dyn Erased>;
    fn visited(&self, visitor: &mut dyn Visit);
    fn mapped(self: Box<Self>, mapper: &mut dyn Change) -> Box<dyn Erased>;
}

impl<N: CustomNetwork> Erased for N {
    fn again(&self) -> Box<dyn Erased> {
        Box::new(self.clone())
    }

    fn scores(&self, batch: Batch) -> Tensor<2> {
        self.forward(batch)
    }

    fn restart(&self, seed: u64, step: u64) {
        self.reseed(seed, step);
    }

    fn devices_and(&self, devices: Devices) -> Devices {
        self.collect_devices(devices)
    }

    fn forked(self: Box<Self>, device: &BurnDevice) -> Box<dyn Erased> {
        Box::new((*self).fork(device))
    }

    fn moved(self: Box<Self>, device: &BurnDevice) -> Box<dyn Erased> {
        Box::new((*self).to_device(device))
    }

    fn recording(self: Box<Self>) -> Box<dyn Erased> {
        Box::new((*self).train())
    }

    fn plain(&self) -> Box<dyn Erased> {
        Box::new(self.valid())
    }

    fn made(self: Box<Self>) -> Box<dyn Erased> {
        Box::new((*self).materialize())
    }

    fn visited(&self, visitor: &mut dyn Visit) {
        self.visit(&mut Inner(visitor));
    }

    fn mapped(self: Box<Self>, mapper: &mut dyn Change) -> Box<dyn Erased> {
        Box::new((*self).map(&mut Inner(mapper)))
    }
}

/// A visitor without generics: a parameter of any rank and kind comes as `Any`.
trait Visit {
    fn enter(&mut self, name: &str, container: &str);
    fn exit(&mut self, name: &str, container: &str);
    fn parameter(&mut self, parameter: &dyn Any);
}

/// A mapper without generics; it gives back what it got, changed.
trait Change {
    fn enter(&mut self, name: &str, container: &str);
    fn exit(&mut self, name: &str, container: &str);
    fn parameter(&mut self, parameter: Box<dyn Any>) -> Box<dyn Any>;
}

/// Burn's visitor or mapper outside the box.
struct Outer<'a, V>(&'a mut V);

/// What stands for it inside.
struct Inner<'a, V: ?Sized>(&'a mut V);

impl ModuleVisitor for Inner<'_, dyn Visit + '_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.0.enter(name, container);
    }

    fn exit_module(&mut self, name: &str, container: &str) {
        self.0.exit(name, container);
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        self.0.parameter(parameter);
    }

    fn visit_int<const D: usize>(&mut self, parameter: &Param<Tensor<D, Int>>) {
        self.0.parameter(parameter);
    }

    fn visit_bool<const D: usize>(&mut self, parameter: &Param<Tensor<D, Bool>>) {
        self.0.parameter(parameter);
    }
}

impl<V: ModuleVisitor> Visit for Outer<'_, V> {
    fn enter(&mut self, name: &str, container: &str) {
        self.0.enter_module(name, container);
    }

    fn exit(&mut self, name: &str, container: &str) {
        self.0.exit_module(name, container);
    }

    fn parameter(&mut self, parameter: &dyn Any) {
        fn of_rank<const D: usize>(visitor: &mut impl ModuleVisitor, parameter: &dyn Any) -> bool {
            if let Some(float) = parameter.downcast_ref::<Param<Tensor<D>>>() {
                visitor.visit_float(float);
            } else if let Some(int) = parameter.downcast_ref::<Param<Tensor<D, Int>>>() {
                visitor.visit_int(int);
            } else if let Some(bool) = parameter.downcast_ref::<Param<Tensor<D, Bool>>>() {
                visitor.visit_bool(bool);
            } else {
                return false;
            }
            true
        }
        // The ranks that Burn's layers have.
        let visitor = &mut *self.0;
        let _ = of_rank::<1>(visitor, parameter)
            || of_rank::<2>(visitor, parameter)
            || of_rank::<3>(visitor, parameter)
            || of_rank::<4>(visitor, parameter)
            || of_rank::<5>(visitor, parameter)
            || of_rank::<6>(visitor, parameter);
    }
}

impl Inner<'_, dyn Change + '_> {
    fn changed<P: 'static>(&mut self, parameter: P) -> P {
        let Ok(changed) = self.0.parameter(Box::new(parameter)).downcast() else {
            unreachable!("a mapper keeps the type of a parameter");
        };
        *changed
    }
}

impl ModuleMapper for Inner<'_, dyn Change + '_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.0.enter(name, container);
    }

    fn exit_module(&mut self, name: &str, container: &str) {
        self.0.exit(name, container);
    }

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.changed(parameter)
    }

    fn map_int<const D: usize>(
        &mut self,
        parameter: Param<Tensor<D, Int>>,
    ) -> Param<Tensor<D, Int>> {
        self.changed(parameter)
    }

    fn map_bool<const D: usize>(
        &mut self,
        parameter: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        self.changed(parameter)
    }
}

impl<M: ModuleMapper> Change for Outer<'_, M> {
    fn enter(&mut self, name: &str, container: &str) {
        self.0.enter_module(name, container);
    }

    fn exit(&mut self, name: &str, container: &str) {
        self.0.exit_module(name, container);
    }

    fn parameter(&mut self, parameter: Box<dyn Any>) -> Box<dyn Any> {
        type Mapped = Result<Box<dyn Any>, Box<dyn Any>>;
        fn of_rank<const D: usize>(mapper: &mut impl ModuleMapper, any: Box<dyn Any>) -> Mapped {
            let any = match any.downcast::<Param<Tensor<D>>>() {
                Ok(float) => return Ok(Box::new(mapper.map_float(*float))),
                Err(any) => any,
            };
            let any = match any.downcast::<Param<Tensor<D, Int>>>() {
                Ok(int) => return Ok(Box::new(mapper.map_int(*int))),
                Err(any) => any,
            };
            match any.downcast::<Param<Tensor<D, Bool>>>() {
                Ok(bool) => Ok(Box::new(mapper.map_bool(*bool))),
                Err(any) => Err(any),
            }
        }
        let mapper = &mut *self.0;
        of_rank::<1>(mapper, parameter)
            .or_else(|any| of_rank::<2>(mapper, any))
            .or_else(|any| of_rank::<3>(mapper, any))
            .or_else(|any| of_rank::<4>(mapper, any))
            .or_else(|any| of_rank::<5>(mapper, any))
            .or_else(|any| of_rank::<6>(mapper, any))
            .unwrap_or_else(|any| any)
    }
}

impl Clone for Custom {
    fn clone(&self) -> Self {
        Self(self.0.again())
    }
}

impl Module for Custom {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.0.devices_and(devices)
    }

    fn fork(self, device: &BurnDevice) -> Self {
        Self(self.0.forked(device))
    }

    fn to_device(self, device: &BurnDevice) -> Self {
        Self(self.0.moved(device))
    }

    fn train(self) -> Self {
        Self(self.0.recording())
    }

    fn valid(&self) -> Self {
        Self(self.0.plain())
    }

    fn materialize(self) -> Self {
        Self(self.0.made())
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.0.visited(&mut Outer(visitor));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        Self(self.0.mapped(&mut Outer(mapper)))
    }
}

impl ModuleDisplayDefault for Custom {
    fn content(&self, content: Content) -> Option<Content> {
        Some(content)
    }
}

impl ModuleDisplay for Custom {}
