//! Which results are wanted, and what they are averaged over.

use temper_core::{
    Epsilon, Violations,
    curve::{Distribution, DistributionError},
    rules::CellMatch,
};

use super::{Parse, parse_text};
use crate::v1::{self, epsilon_distribution as distribution};

/// Reads which cells are meant, which may be absent and means all of them then. Everything that cannot
/// be read is added to `violations`; the answer is of use only without any.
pub fn parse_cell_match(
    message: Option<&v1::CellMatch>,
    field: &str,
    violations: &mut Violations,
) -> CellMatch {
    CellMatch::parse_or_default(message, field, violations).unwrap_or_default()
}

/// Reads a distribution, which may be absent and is the usual one then. Everything that cannot be read
/// is added to `violations`; the answer is of use only without any.
pub fn parse_distribution(
    message: Option<&v1::EpsilonDistribution>,
    field: &str,
    violations: &mut Violations,
) -> Distribution {
    let message = message.cloned().unwrap_or_default();
    Distribution::parse(&message, field, violations).unwrap_or_default()
}

impl Parse for Distribution {
    type Message = v1::EpsilonDistribution;

    fn parse(
        message: &v1::EpsilonDistribution,
        field: &str,
        violations: &mut Violations,
    ) -> Option<Self> {
        use distribution::Kind;
        let parsed = match message.kind.as_ref() {
            None => return Some(Self::default()),
            Some(Kind::Uniform(uniform)) => {
                let kind = format!("{field}.uniform");
                let (from, to) = range(&uniform.from, &uniform.to, &kind, violations)?;
                Self::uniform(from, to).map_err(|error| vec![error])
            }
            Some(Kind::PointMass(point)) => {
                let name = format!("{field}.point_mass.epsilon");
                let epsilon = violations.take(&name, point.epsilon.parse())?;
                Ok(Self::point_mass(epsilon))
            }
            Some(Kind::TruncatedNormal(normal)) => {
                let kind = format!("{field}.truncated_normal");
                let (from, to) = range(&normal.from, &normal.to, &kind, violations)?;
                Self::truncated_normal(normal.mean, normal.standard_deviation, from, to)
            }
            Some(Kind::Weights(weights)) => {
                let before = violations.count();
                let points = weights.points.iter().enumerate();
                let points: Vec<(Epsilon, f64)> = points
                    .filter_map(|(i, point)| {
                        let name = format!("{field}.weights.points[{i}].epsilon");
                        let epsilon = violations.take(&name, point.epsilon.parse())?;
                        Some((epsilon, point.weight))
                    })
                    .collect();
                // Where one is missing the others' places would be wrong.
                if violations.count() > before {
                    return None;
                }
                Self::weights(points)
            }
        };
        parsed
            .map_err(|errors| blame(&errors, field, violations))
            .ok()
    }
}

fn blame(errors: &[DistributionError], field: &str, violations: &mut Violations) {
    for error in errors {
        violations.add(format!("{field}.{}", error.field()), error.to_string());
    }
}

/// A range, of which both ends may be left out.
fn range(
    from: &str,
    to: &str,
    field: &str,
    violations: &mut Violations,
) -> Option<(Epsilon, Option<Epsilon>)> {
    let from = parse_text(from, Epsilon::ZERO, &format!("{field}.from"), violations);
    let to = if to.is_empty() {
        Some(None)
    } else {
        violations
            .take(&format!("{field}.to"), to.parse())
            .map(Some)
    };
    Some((from?, to?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::from_json;

    fn parsed(json: &str) -> Result<Distribution, Vec<String>> {
        let message = from_json::<v1::EpsilonDistribution>(json).unwrap();
        let mut violations = Violations::default();
        let value = parse_distribution(Some(&message), "distribution", &mut violations);
        violations.into_result(value).map_err(|violations| {
            let fields = violations.as_slice().iter();
            fields.map(|violation| violation.field.clone()).collect()
        })
    }

    fn level(numerator: u32) -> Epsilon {
        Epsilon::new(numerator, 255).unwrap()
    }

    #[test]
    fn every_kind_is_read_with_its_defaults() {
        assert_eq!(parsed("{}"), Ok(Distribution::default()));
        assert_eq!(parsed(r#"{"uniform": {}}"#), Ok(Distribution::default()));
        let half = Distribution::uniform(level(1), Some(level(2))).unwrap();
        let text = r#"{"uniform": {"from": "1/255", "to": "2/255"}}"#;
        assert_eq!(parsed(text), Ok(half));
        let mass = Distribution::point_mass(level(4));
        assert_eq!(parsed(r#"{"pointMass": {"epsilon": "4/255"}}"#), Ok(mass));
        let normal = Distribution::truncated_normal(0.01, 0.02, Epsilon::ZERO, None).unwrap();
        let text = r#"{"truncatedNormal": {"mean": 0.01, "standardDeviation": 0.02}}"#;
        assert_eq!(parsed(text), Ok(normal));
        let weights = Distribution::weights(vec![(level(0), 1.0), (level(4), 3.0)]).unwrap();
        let text = r#"{"weights": {"points": [{"epsilon": "0", "weight": 1}, {"epsilon": "4/255", "weight": 3}]}}"#;
        assert_eq!(parsed(text), Ok(weights));
    }

    #[test]
    fn what_is_no_distribution_is_refused_by_its_fields() {
        for (json, fields) in [
            (
                r#"{"uniform": {"from": "x", "to": "2"}}"#,
                &["uniform.from", "uniform.to"][..],
            ),
            (
                r#"{"uniform": {"from": "2/255", "to": "1/255"}}"#,
                &["uniform.to"],
            ),
            (r#"{"pointMass": {}}"#, &["point_mass.epsilon"]),
            (
                r#"{"truncatedNormal": {"mean": "NaN"}}"#,
                &[
                    "truncated_normal.mean",
                    "truncated_normal.standard_deviation",
                ],
            ),
            (r#"{"weights": {}}"#, &["weights.points"]),
            (
                r#"{"weights": {"points": [{"epsilon": "0", "weight": "NaN"}, {"epsilon": "1/255", "weight": -1}]}}"#,
                &["weights.points[0].weight", "weights.points[1].weight"],
            ),
            (
                r#"{"weights": {"points": [{"epsilon": "y", "weight": 1}, {"epsilon": "0", "weight": -1}]}}"#,
                &["weights.points[0].epsilon"],
            ),
        ] {
            let expected: Vec<_> = fields
                .iter()
                .map(|one| format!("distribution.{one}"))
                .collect();
            assert_eq!(parsed(json), Err(expected), "{json}");
        }
    }
}
