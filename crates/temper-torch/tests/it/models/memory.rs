//! How much memory loading takes.

use std::{
    env, fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use tch::{Kind, Tensor};
use temper_core::catalog::Normalisation;
use temper_torch::{
    Device,
    models::{Architecture, Head, Network, Plan, vit},
    optim::AdamW,
    tensors::Tensors,
};

use crate::support::{status_bytes, vit_weights};

const WIDTH: i64 = 512;
const DEPTH: u32 = 8;
/// Where the child finds the weights.
const FILE: &str = "TEMPER_TEST_WEIGHTS";

#[test]
fn loading_takes_less_than_the_weights_and_a_third_in_anonymous_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    fs::write(&file, vit_weights(WIDTH, DEPTH)).unwrap();
    // In a process of its own, because the other tests' memory would be counted here.
    let child = Command::new(env::current_exe().unwrap())
        .args(["models::memory::child_that_loads", "--exact", "--ignored"])
        .arg("--nocapture")
        .env(FILE, &file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    println!("{said}{}", String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success());
    assert!(said.contains("peak over weights"), "the child did not run");
}

#[test]
#[ignore = "run by the test of loading, in a process of its own"]
fn child_that_loads() {
    let file = env::var(FILE).unwrap();
    let size = fs::metadata(&file).unwrap().len();
    let _ = Tensor::randn([64, 64], (Kind::Float, tch::Device::Cpu))
        .matmul(&Tensor::ones([64, 64], (Kind::Float, tch::Device::Cpu)));
    let (before, peak, done) = (
        status_bytes("RssAnon:"),
        AtomicU64::new(0),
        AtomicBool::new(false),
    );
    let network = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(status_bytes("RssAnon:"), Ordering::Relaxed);
                thread::yield_now();
            }
        });
        let network = load(Path::new(&file));
        done.store(true, Ordering::Relaxed);
        network
    });
    let optimiser = AdamW::new(&network, 0.1);
    let peak = peak.into_inner().max(status_bytes("RssAnon:")) - before;
    #[expect(clippy::cast_precision_loss, reason = "bytes of this process")]
    let ratio = peak as f64 / size as f64;
    println!("peak over weights: {ratio:.3}");
    assert!(ratio < 1.3, "{ratio}");
    assert!(optimiser.parameters().len() > 100);
}

/// Not a tensor outlives the thread that made it: the network is made on the caller's.
fn load(file: &Path) -> Network {
    let half = Normalisation {
        mean: [0.5; 3],
        std: [0.5; 3],
    };
    let architecture = Architecture::new("a vision transformer", 10, half);
    let plan = Plan::Vit(vit::Plan {
        patch: 16,
        width: WIDTH,
        depth: DEPTH as usize,
        heads: 8,
        pre_norm: false,
        norm_epsilon: 1e-6,
    });
    let source = Tensors::read(file).unwrap();
    let head = Head::Fresh { seed: 0 };
    Network::of_plan(&plan, &architecture, &source, head, Device::CPU).unwrap()
}
