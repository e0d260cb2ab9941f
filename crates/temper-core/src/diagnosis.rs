//! Whether a pretrained model's transfer went well: when training began to adapt to the task, and what
//! came of it (Ngnawé et al., ICLR 2026, "suboptimal transfer").

/// Clean accuracy on the validation split above which adaptation has set in (the paper's).
pub const ONSET_ACCURACY: f64 = 0.05;

/// When a training began to adapt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adaptation {
    /// Not yet, but the training is not over.
    Pending,
    /// From this epoch on, counted from 0.
    Since(u32),
    /// Not in any of so many epochs, which are all that there were.
    Never(u32),
}

impl Adaptation {
    /// Of a training of `epochs` epochs, from clean accuracies on the validation split, epoch by epoch
    /// and from the first; those that were not measured are none.
    #[must_use]
    pub fn of(validation: &[Option<f64>], epochs: u32, bound: f64) -> Self {
        let adapted = |accuracy: &Option<f64>| accuracy.is_some_and(|value| value > bound);
        let onset = validation.iter().position(adapted);
        let is_over = u32::try_from(validation.len()).is_ok_and(|done| done >= epochs);
        match onset.and_then(|epoch| u32::try_from(epoch).ok()) {
            Some(epoch) => Self::Since(epoch),
            None if is_over => Self::Never(epochs),
            None => Self::Pending,
        }
    }

    /// The first epoch that adapted.
    #[must_use]
    pub fn onset(self) -> Option<u32> {
        match self {
            Self::Since(epoch) => Some(epoch),
            Self::Pending | Self::Never(_) => None,
        }
    }

    /// Epochs before it set in; none while it may still. One that never adapted counts with all its
    /// epochs, which is the least that its delay can be; the paper does not say what it does then.
    #[must_use]
    pub fn delay(self) -> Option<u32> {
        match self {
            Self::Since(epochs) | Self::Never(epochs) => Some(epochs),
            Self::Pending => None,
        }
    }
}

/// Accuracy of guessing among so many classes.
#[must_use]
pub fn chance(classes: u32) -> f64 {
    1.0 / f64::from(classes.max(1))
}

/// Whether transfer failed: clean accuracy on the test split near chance, which is at most twice that
/// of guessing. With two or three classes twice would be most of the way to 1: there it is at most
/// half-way. The paper says "near chance" and no more.
#[must_use]
pub fn failed(clean: f64, classes: u32) -> bool {
    let chance = chance(classes);
    clean <= (2.0 * chance).min(f64::midpoint(1.0, chance))
}

/// Whether transfer was suboptimal: clean accuracy below that of ordinary fine-tuning of the same
/// model on the same dataset.
#[must_use]
pub fn suboptimal(clean: f64, standard: f64) -> bool {
    clean < standard
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn onset_is_the_first_epoch_above_the_bound() {
        let of = |values: &[f64], epochs| {
            let values: Vec<_> = values.iter().copied().map(Some).collect();
            Adaptation::of(&values, epochs, ONSET_ACCURACY)
        };
        // Exactly the bound is not above it, and falling back later changes nothing.
        let late = of(&[0.01, 0.05, 0.051, 0.02], 4);
        assert_eq!(late, Adaptation::Since(2));
        assert_eq!((late.onset(), late.delay()), (Some(2), Some(2)));
        assert_eq!(of(&[0.3], 4), Adaptation::Since(0));
        let yet = of(&[0.01, 0.02], 4);
        assert_eq!((yet, yet.delay()), (Adaptation::Pending, None));
        let never = of(&[0.01; 4], 4);
        assert_eq!(never, Adaptation::Never(4));
        assert_eq!((never.onset(), never.delay()), (None, Some(4)));
    }

    #[test]
    fn epochs_that_were_not_validated_do_not_adapt() {
        let of = |values: &[Option<f64>]| Adaptation::of(values, 3, ONSET_ACCURACY);
        assert_eq!(of(&[None, None, Some(0.4)]), Adaptation::Since(2));
        assert_eq!(of(&[None; 3]), Adaptation::Never(3));
        assert_eq!(of(&[]), Adaptation::Pending);
    }

    #[test]
    fn failure_is_at_most_twice_chance_and_half_way_for_few_classes() {
        assert!(failed(0.02, 100) && !failed(0.0201, 100));
        // The paper's step schedule on Stanford Cars: 1.9% of 196 classes is learned something.
        assert!(!failed(0.019, 196) && failed(0.008, 196));
        assert!(failed(0.75, 2) && !failed(0.76, 2));
        assert!(failed(0.2, 10) && !failed(0.21, 10));
    }

    #[test]
    fn suboptimal_is_below_ordinary_fine_tuning() {
        assert!(suboptimal(0.799, 0.8));
        assert!(!suboptimal(0.8, 0.8) && !suboptimal(0.9, 0.8));
    }
}
