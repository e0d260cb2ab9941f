//! The comparison of a device with the processor, on the processor itself.

use temper_core::{
    attack::{Attack, Pgd},
    schedule::Schedule,
    spec::Precision,
};
use temper_torch::{
    Device, Training,
    check::{Report, Resume, Rules, check},
    set_threads,
};

use crate::support::{mobilenet_weights, striped, train_spec};

fn report() -> Report {
    set_threads(1);
    let mut spec = train_spec(Schedule::Fixed);
    spec.training.attack = Attack::Pgd(Pgd::with_steps(1));
    let (train_set, validation) = (striped(40, 0), striped(0, 0));
    let training = Training {
        spec: &spec,
        weights: &mobilenet_weights(),
        train: &train_set,
        validation: &validation,
        device: Device::CPU,
    };
    check(&training, &[Precision::Fp32]).unwrap()
}

#[test]
fn processor_is_like_itself_and_every_difference_is_complained_of() {
    let report = report();
    assert_eq!(report.complaints(), Vec::<String>::new());
    assert_eq!((report.device.as_str(), report.resume.steps), ("cpu", 6));
    assert!(report.logits_difference <= 0.0);
    assert!(report.throughput[0].images_per_second > 0.0);
    assert!(report.peak_memory_bytes.unwrap() > 100 << 20);

    let with_rules = |change: &dyn Fn(&mut Rules)| {
        let mut other = report.clone();
        change(&mut other.rules);
        other
    };
    let with_resume = |change: &dyn Fn(&mut Resume)| {
        let mut other = report.clone();
        change(&mut other.resume);
        other
    };
    let cases = [
        (with_rules(&|rules| rules.pgd_linf = 1e-9), "PGD (l_inf)"),
        (with_rules(&|rules| rules.pgd_l2 = 1e-5), "PGD (l2)"),
        (with_rules(&|rules| rules.apgd_ce = f64::NAN), "APGD-CE"),
        (
            with_resume(&|resume| resume.repeated = 1e-7),
            "does not repeat itself",
        ),
        (with_resume(&|resume| resume.resumed = 1e-7), "resumed run"),
        (
            Report {
                logits_difference: f64::NAN,
                ..report.clone()
            },
            "logits",
        ),
        (
            Report {
                logits_difference: 0.1,
                ..report.clone()
            },
            "logits",
        ),
    ];
    for (report, expected) in cases {
        let complaints = report.complaints();
        assert!(
            complaints.len() == 1 && complaints[0].contains(expected),
            "{expected}: {complaints:?}"
        );
    }
}
