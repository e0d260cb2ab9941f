use statrs::distribution::{Continuous as _, ContinuousCDF as _, Normal as Gaussian};

use super::{
    CurveError, Distribution, Point, checked,
    distribution::{Kind, Normal, Range},
};
use crate::Epsilon;

/// A range further from a normal distribution's mean than so many of its standard deviations has
/// nothing of it.
const FAR: f64 = 8.0;
/// Pieces up to so many standard deviations wide are integrated by quadrature, wider ones in closed
/// form: each is exact to rounding where it is used, and the closed form cancels on narrow pieces.
const NARROW: f64 = 0.5;

/// Why a curve has no mean over a distribution.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ExpectationError {
    /// The points are no curve.
    #[error(transparent)]
    Curve(#[from] CurveError),
    /// The grid does not reach so far.
    #[error("{epsilon} is beyond {end}, where the grid of the curve ends")]
    Beyond {
        /// The bound, by its path in a distribution: `uniform.to`.
        field: String,
        /// Its strength.
        epsilon: Epsilon,
        /// Where the grid ends.
        end: Epsilon,
    },
    /// A normal distribution of which nothing is left after it is cut off.
    #[error("the range is more than 8 standard deviations away from the mean")]
    NoMass,
    /// A density over one strength.
    #[error("the grid of the curve ends at {0}, where the range begins")]
    Single(Epsilon),
}

impl ExpectationError {
    /// The parameter that it is about, by its path in a distribution; none where the curve itself is
    /// the matter.
    #[must_use]
    pub fn field(&self) -> Option<String> {
        match self {
            Self::Curve(_) => None,
            Self::Beyond { field, .. } => Some(field.clone()),
            Self::NoMass => Some("truncated_normal.mean".to_owned()),
            Self::Single(_) => Some("truncated_normal.from".to_owned()),
        }
    }
}

/// Mean accuracy over a distribution of strengths, in `[0, 1]`. Between two points accuracy is linear,
/// and the mean of that is exact; of a uniform distribution it is the trapezoidal rule.
///
/// # Errors
/// When the points are no curve, or the grid does not cover the distribution.
pub fn expectation(points: &[Point], over: &Distribution) -> Result<f64, ExpectationError> {
    let end = checked(points)?;
    let within = |field: &str, epsilon: Epsilon| {
        let beyond = || ExpectationError::Beyond {
            field: field.to_owned(),
            epsilon,
            end,
        };
        if epsilon <= end {
            Ok(())
        } else {
            Err(beyond())
        }
    };
    let ranged = |kind: &str, range: &Range| {
        within(&format!("{kind}.from"), range.from)?;
        let to = range.to.unwrap_or(end);
        within(&format!("{kind}.to"), to).map(|()| to)
    };
    match &over.0 {
        Kind::PointMass(epsilon) => {
            within("point_mass.epsilon", *epsilon)?;
            Ok(accuracy_at(points, epsilon.value()))
        }
        Kind::Uniform(range) => {
            let to = ranged("uniform", range)?;
            Ok(uniform(points, range.from, to))
        }
        Kind::TruncatedNormal { normal, range } => {
            let to = ranged("truncated_normal", range)?;
            if to == range.from {
                return Err(ExpectationError::Single(to));
            }
            truncated_normal(points, *normal, (range.from.value(), to.value()))
        }
        Kind::Weights(weights) => {
            for (i, (epsilon, _)) in weights.iter().enumerate() {
                within(&format!("weights.points[{i}].epsilon"), *epsilon)?;
            }
            Ok(weighted(points, weights))
        }
    }
}

/// A part of a curve over which accuracy is linear.
#[derive(Debug, Clone, Copy)]
struct Piece {
    from: f64,
    to: f64,
    at_from: f64,
    at_to: f64,
}

impl Piece {
    fn between(one: &Point, next: &Point) -> Self {
        Self {
            from: one.epsilon.value(),
            to: next.epsilon.value(),
            at_from: one.accuracy(),
            at_to: next.accuracy(),
        }
    }

    fn width(&self) -> f64 {
        self.to - self.from
    }

    fn slope(&self) -> f64 {
        (self.at_to - self.at_from) / self.width()
    }

    fn at(&self, epsilon: f64) -> f64 {
        if epsilon >= self.to {
            self.at_to
        } else {
            self.at_from + self.slope() * (epsilon - self.from)
        }
    }
}

/// The pieces of a curve between two strengths.
fn pieces(points: &[Point], from: f64, to: f64) -> impl Iterator<Item = Piece> {
    let whole = points
        .windows(2)
        .map(|pair| Piece::between(&pair[0], &pair[1]));
    whole.filter_map(move |piece| {
        let (from, to) = (piece.from.max(from), piece.to.min(to));
        (from < to).then(|| Piece {
            from,
            to,
            at_from: piece.at(from),
            at_to: piece.at(to),
        })
    })
}

/// Accuracy at a strength on the grid or between two points of it.
fn accuracy_at(points: &[Point], epsilon: f64) -> f64 {
    let beyond = points.partition_point(|point| point.epsilon.value() <= epsilon);
    match (points[..beyond].last(), points.get(beyond)) {
        (Some(before), Some(after)) => Piece::between(before, after).at(epsilon),
        (Some(last), None) => last.accuracy(),
        (None, first) => first.map_or(0.0, Point::accuracy),
    }
}

fn uniform(points: &[Point], from: Epsilon, to: Epsilon) -> f64 {
    let (from, to) = (from.value(), to.value());
    if from >= to {
        return accuracy_at(points, from);
    }
    let trapezoid = |piece: Piece| piece.width() * (piece.at_from + piece.at_to) / 2.0;
    let area: f64 = pieces(points, from, to).map(trapezoid).sum();
    area / (to - from)
}

fn weighted(points: &[Point], weights: &[(Epsilon, f64)]) -> f64 {
    // Scaled by the greatest, so that sums stay finite.
    let greatest = weights
        .iter()
        .map(|(_, weight)| *weight)
        .fold(0.0, f64::max);
    let scaled = || {
        weights
            .iter()
            .map(|(epsilon, weight)| (epsilon, weight / greatest))
    };
    let sum: f64 = scaled()
        .map(|(epsilon, weight)| weight * accuracy_at(points, epsilon.value()))
        .sum();
    sum / scaled().map(|(_, weight)| weight).sum::<f64>()
}

fn truncated_normal(
    points: &[Point],
    Normal {
        mean,
        standard_deviation,
    }: Normal,
    (from, to): (f64, f64),
) -> Result<f64, ExpectationError> {
    let distance = (from - mean).max(mean - to) / standard_deviation;
    let gaussian = Gaussian::new(mean, standard_deviation);
    let gaussian = gaussian.ok().filter(|_| distance <= FAR);
    let gaussian = gaussian.ok_or(ExpectationError::NoMass)?;
    let parts = pieces(points, from, to).map(|piece| {
        if piece.width() <= NARROW * standard_deviation {
            by_quadrature(&piece, mean, standard_deviation)
        } else {
            in_closed_form(&piece, &gaussian, mean, standard_deviation)
        }
    });
    let (moment, mass) = parts.fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
    Ok((moment / mass).clamp(0.0, 1.0))
}

/// Integrals of accuracy times density and of density over a piece, in units of the standard
/// deviation's share: `∫ x f(x) dx = mean · mass - deviation² · (f(to) - f(from))`.
fn in_closed_form(piece: &Piece, gaussian: &Gaussian, mean: f64, deviation: f64) -> (f64, f64) {
    // Above the mean by the upper tail, which does not lose what 1 - tail would.
    let mass = if piece.from > mean {
        gaussian.sf(piece.from) - gaussian.sf(piece.to)
    } else {
        gaussian.cdf(piece.to) - gaussian.cdf(piece.from)
    };
    let fall = gaussian.pdf(piece.to) - gaussian.pdf(piece.from);
    let beyond = (mean - piece.from) * mass - deviation * deviation * fall;
    (piece.at_from * mass + piece.slope() * beyond, mass)
}

/// The same by Gauss and Legendre's rule with five nodes.
fn by_quadrature(piece: &Piece, mean: f64, deviation: f64) -> (f64, f64) {
    let root = (10.0_f64 / 7.0).sqrt();
    let (near, far) = (
        (5.0 - 2.0 * root).sqrt() / 3.0,
        (5.0 + 2.0 * root).sqrt() / 3.0,
    );
    let share = 13.0 * 70.0_f64.sqrt();
    let (at_near, at_far) = ((322.0 + share) / 900.0, (322.0 - share) / 900.0);
    let nodes = [
        (0.0, 128.0 / 225.0),
        (near, at_near),
        (-near, at_near),
        (far, at_far),
        (-far, at_far),
    ];
    let half = piece.width() / 2.0;
    let height = |z: f64| (-z * z / 2.0).exp() / (std::f64::consts::TAU.sqrt() * deviation);
    nodes.iter().fold((0.0, 0.0), |sum, (node, weight)| {
        let epsilon = piece.from + half * (1.0 + node);
        let mass = weight * half * height((epsilon - mean) / deviation);
        (sum.0 + mass * piece.at(epsilon), sum.1 + mass)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::curve::expected_robustness;

    fn level(numerator: u32) -> Epsilon {
        Epsilon::new(numerator, 255).unwrap()
    }

    /// Points at the given levels of 255.
    fn curve(points: &[(u32, u32)], samples: u32) -> Vec<Point> {
        let point = |&(numerator, correct): &(u32, u32)| Point {
            epsilon: level(numerator),
            correct,
            samples,
        };
        points.iter().map(point).collect()
    }

    /// `[P]`'s grid up to 4/255.
    fn falling() -> Vec<Point> {
        curve(&[(0, 80), (1, 60), (2, 40), (3, 30), (4, 20)], 100)
    }

    #[track_caller]
    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-12, "{value}, not {expected}");
    }

    fn mean(points: &[Point], over: Result<Distribution, impl std::fmt::Debug>) -> f64 {
        expectation(points, &over.unwrap()).unwrap()
    }

    #[test]
    fn uniform_up_to_the_end_is_the_papers_formula() {
        let by_hand = (0.25) * ((0.8 + 0.6) + (0.6 + 0.4) + (0.4 + 0.3) + (0.3 + 0.2)) / 2.0;
        near(
            expectation(&falling(), &Distribution::default()).unwrap(),
            by_hand,
        );
        near(
            mean(&falling(), Distribution::uniform(level(0), Some(level(4)))),
            by_hand,
        );
    }

    #[test]
    fn uniform_between_grid_points_cuts_the_trapezoids() {
        // From 0.5 to 2 levels: half a trapezoid of 0.7 and 0.6, and one of 0.6 and 0.4.
        let half = Epsilon::new(1, 510).unwrap();
        let by_hand = (0.5 * 0.65 + 0.5) / 1.5;
        near(
            mean(&falling(), Distribution::uniform(half, Some(level(2)))),
            by_hand,
        );
        near(
            mean(&falling(), Distribution::uniform(half, Some(half))),
            0.7,
        );
        near(
            mean(&falling(), Distribution::uniform(level(3), None)),
            0.25,
        );
    }

    #[test]
    fn point_masses_give_clean_and_robust_accuracy_and_what_lies_between() {
        for (epsilon, expected) in [
            (level(0), 0.8),
            (level(4), 0.2),
            (level(3), 0.3),
            (Epsilon::new(5, 510).unwrap(), 0.35),
        ] {
            let over = Distribution::point_mass(epsilon);
            near(expectation(&falling(), &over).unwrap(), expected);
        }
    }

    #[test]
    fn weights_need_not_sum_to_one_nor_lie_on_the_grid() {
        let half = Epsilon::new(1, 510).unwrap();
        let over = Distribution::weights(vec![(half, 1.0), (level(4), 3.0), (level(1), 0.0)]);
        near(mean(&falling(), over), (0.7 + 3.0 * 0.2) / 4.0);
        let huge = Distribution::weights(vec![(level(0), f64::MAX), (level(4), f64::MAX)]);
        near(mean(&falling(), huge), 0.5);
    }

    #[test]
    fn truncated_normal_is_the_integral_by_small_steps() {
        let steps = 400_000_u32;
        for (mu, sigma, from, to) in [
            (2.0 / 255.0, 1.0 / 255.0, 0, 4),
            (0.0, 2.0 / 255.0, 0, 4),
            (1.0 / 255.0, 0.0005, 1, 3),
            (-0.05, 0.02, 0, 4),
            (0.05, 0.0099, 0, 3),
            (0.01, 0.2, 0, 4),
        ] {
            let (low, high) = (f64::from(from) / 255.0, f64::from(to) / 255.0);
            let step = (high - low) / f64::from(steps);
            let (mut moment, mut mass) = (0.0, 0.0);
            for i in 0..steps {
                let x = low + step * (f64::from(i) + 0.5);
                let density = (-((x - mu) / sigma).powi(2) / 2.0).exp();
                moment += density * accuracy_at(&falling(), x);
                mass += density;
            }
            let over = Distribution::truncated_normal(mu, sigma, level(from), Some(level(to)));
            let value = mean(&falling(), over);
            assert!(
                (value - moment / mass).abs() < 1e-8,
                "{mu} {sigma}: {value}"
            );
        }
    }

    #[test]
    fn wide_normal_is_uniform_and_narrow_one_a_point() {
        for deviation in [1e6, 1e9, 1e200] {
            let wide = Distribution::truncated_normal(0.0, deviation, level(0), None);
            near(
                mean(&falling(), wide),
                expected_robustness(&falling()).unwrap(),
            );
        }
        let narrow = Distribution::truncated_normal(3.0 / 255.0, 1e-15, level(0), None);
        near(mean(&falling(), narrow), 0.3);
    }

    #[test]
    fn what_the_grid_does_not_reach_is_refused_by_the_bound() {
        let points = falling();
        let refused = |over: Distribution| {
            let error = expectation(&points, &over).unwrap_err();
            (error.field().unwrap(), error.to_string())
        };
        let (field, text) = refused(Distribution::uniform(level(0), Some(level(5))).unwrap());
        assert_eq!(field, "uniform.to");
        assert!(text.contains("1/51 is beyond 4/255"), "{text}");
        let beyond = Distribution::uniform(level(6), None).unwrap();
        assert_eq!(refused(beyond).0, "uniform.from");
        assert_eq!(
            refused(Distribution::point_mass(level(5))).0,
            "point_mass.epsilon"
        );
        let weights = Distribution::weights(vec![(level(4), 1.0), (level(5), 0.0)]);
        assert_eq!(refused(weights.unwrap()).0, "weights.points[1].epsilon");
        let normal =
            |mean, from, to| Distribution::truncated_normal(mean, 0.001, level(from), to).unwrap();
        let cut = normal(0.0, 0, Some(level(8)));
        assert_eq!(refused(cut).0, "truncated_normal.to");
        assert_eq!(refused(normal(1.0, 0, None)).0, "truncated_normal.mean");
        assert_eq!(refused(normal(0.0, 4, None)).0, "truncated_normal.from");
    }

    /// Grids that begin at 0 and ascend by any steps, with counts of 50.
    fn grids() -> impl Strategy<Value = Vec<(u32, u32)>> {
        prop::collection::vec((1_u32..8, 0_u32..=50), 1..12).prop_map(|steps| {
            let mut at = 0;
            let point = |(i, (step, correct)): (usize, (u32, u32))| {
                at += if i == 0 { 0 } else { step };
                (at, correct)
            };
            steps.into_iter().enumerate().map(point).collect()
        })
    }

    proptest! {
        #[test]
        fn every_mean_lies_between_the_least_and_the_best_accuracy(
            grid in grids(),
            (mu, sigma) in (-0.2_f64..0.5, 0.001_f64..1.0),
            (low, high) in (0.0_f64..=1.0, 0.0_f64..=1.0),
        ) {
            let points = curve(&grid, 50);
            let (least, best) = points.iter().fold((1.0_f64, 0.0_f64), |(least, best), point| {
                (least.min(point.accuracy()), best.max(point.accuracy()))
            });
            let end = grid.last().unwrap().0;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shares")]
            let part = |share: f64| Epsilon::new((share * f64::from(end) * 4.0) as u32, 1020).unwrap();
            let (low, high) = (part(low.min(high)), part(low.max(high)));
            let mut all = vec![
                Distribution::uniform(low, Some(high)).unwrap(),
                Distribution::point_mass(high),
                Distribution::weights(vec![(low, 0.3), (level(end), 0.7)].into_iter()
                    .take(if low == level(end) { 1 } else { 2 }).collect()).unwrap(),
            ];
            all.extend(Distribution::truncated_normal(mu, sigma, low, Some(high)));
            for over in all {
                match expectation(&points, &over) {
                    Ok(mean) => prop_assert!(
                        mean >= least - 1e-9 && mean <= best + 1e-9, "{over:?}: {mean}"
                    ),
                    Err(error) => prop_assert_eq!(error, ExpectationError::NoMass),
                }
            }
        }

        #[test]
        fn constant_curve_has_that_mean_under_every_distribution(
            grid in grids(), correct in 0_u32..=50, mu in -0.1_f64..0.3, sigma in 0.05_f64..1.0,
        ) {
            let flat: Vec<_> = grid.iter().map(|(at, _)| (*at, correct)).collect();
            let (points, end) = (curve(&flat, 50), level(grid.last().unwrap().0));
            let constant = f64::from(correct) / 50.0;
            let mut all = vec![
                Distribution::default(),
                Distribution::point_mass(end),
                Distribution::weights(vec![(end, 2.0)]).unwrap(),
            ];
            all.extend(Distribution::truncated_normal(mu, sigma, level(0), Some(end)));
            for over in all {
                let mean = expectation(&points, &over).unwrap();
                prop_assert!((mean - constant).abs() < 1e-9, "{over:?}: {mean}");
            }
        }

        #[test]
        fn finer_grid_through_the_same_line_changes_nothing(grid in grids()) {
            let points = curve(&grid, 50);
            // Every strength between two points, by the line between them.
            let (end, last) = *grid.last().unwrap();
            let mut fine: Vec<Point> = (0..end * 2).map(|i| {
                let epsilon = Epsilon::new(i, 510).unwrap();
                let share = accuracy_at(&points, epsilon.value());
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
                let correct = (share * 84e6).round() as u32;
                Point { epsilon, correct, samples: 84_000_000 }
            }).collect();
            fine.push(Point { epsilon: level(end), correct: last * 1_680_000, samples: 84_000_000 });
            let coarse = expectation(&points, &Distribution::default()).unwrap();
            let fine = expectation(&fine, &Distribution::default()).unwrap();
            prop_assert!((coarse - fine).abs() < 1e-7, "{coarse} {fine}");
        }
    }
}
