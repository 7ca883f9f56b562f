//! The kernels on the CPU by themselves, at the sizes of the networks of the comparison with PyTorch. What
//! criterion calls `Gelem/s` are 10^9 floating-point operations per second; RAYON_NUM_THREADS says how many
//! threads there are.
//!
//! ```sh
//! cargo bench --workspace --bench kernels                       # all
//! RAYON_NUM_THREADS=1 cargo bench --workspace --bench kernels -- linear/784x512
//! ```

use std::time::Duration;

use burn::tensor::{Device, Distribution, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tesla_core::ops::{self, Conv2dOptions, Reuse};

/// As in the program `tesla`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn random<const D: usize>(dims: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(dims, Distribution::Uniform(-1.0, 1.0), device)
}

/// Times a layer alone, and with its gradients where there are several rows. `work` is in multiplications.
fn both<const D: usize>(
    c: &mut Criterion,
    name: &str,
    rows: usize,
    work: usize,
    [x, weight]: [[usize; D]; 2],
    layer: impl Fn(Tensor<D>, Tensor<D>) -> Tensor<D>,
) {
    let mut group = c.benchmark_group(name);
    let plain = Device::flex();
    let (values, weights) = (random(x, &plain), random(weight, &plain));
    group.throughput(Throughput::Elements(2 * work as u64));
    group.bench_function(BenchmarkId::new("forward", rows), |b| {
        b.iter(|| layer(values.clone(), weights.clone()));
    });
    if rows > 1 {
        let device = plain.autodiff();
        let values = random(x, &device).require_grad();
        let weights = random(weight, &device).require_grad();
        group.throughput(Throughput::Elements(6 * work as u64));
        group.bench_function(BenchmarkId::new("step", rows), |b| {
            b.iter(|| {
                let out = layer(values.clone(), weights.clone());
                let mut gradients = out.sum().backward();
                (values.grad_remove(&mut gradients), weights.grad_remove(&mut gradients))
            });
        });
    }
    group.finish();
}

fn linear(c: &mut Criterion) {
    let _buffers = Reuse::start();
    for [inputs, outputs] in [[784, 512], [512, 256], [1600, 128]] {
        for rows in [1, 64, 256] {
            let name = format!("linear/{inputs}x{outputs}");
            let dims = [[rows, inputs], [inputs, outputs]];
            both(c, &name, rows, rows * inputs * outputs, dims, |x, weight| {
                ops::linear(x, weight, None, true)
            });
        }
    }
}

/// With ReLU and pooling.
fn conv2d(c: &mut Criterion) {
    let _buffers = Reuse::start();
    let options = Conv2dOptions {
        relu: true,
        pool: 2,
        ..Default::default()
    };
    for [channels, side, filters] in [[1, 28, 32], [32, 13, 64]] {
        for rows in [1, 64] {
            let name = format!("conv2d/{channels}x{side}x{side}x{filters}");
            let places = (side - 2) * (side - 2);
            let dims = [[rows, channels, side, side], [filters, channels, 3, 3]];
            let work = rows * places * channels * 9 * filters;
            both(c, &name, rows, work, dims, |x, weight| ops::conv2d(x, weight, None, options));
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = linear, conv2d
}
criterion_main!(benches);
