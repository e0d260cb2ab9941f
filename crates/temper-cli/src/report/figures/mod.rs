//! The figures, each by its subject, and why one is not there.

pub mod curves;
mod delays;
mod hinges;
mod means;
mod targets;
mod training;

use serde::Serialize;

use super::{Answers, looks::Looks};

/// A figure: pictures of one kind under one caption.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// Its anchor in the page, and the beginning of its files' names.
    pub id: &'static str,
    title: &'static str,
    caption: &'static str,
    /// One or more.
    pub pictures: Vec<Picture>,
}

/// A picture.
#[derive(Debug, Serialize)]
pub struct Picture {
    /// What it is of, in words.
    pub name: String,
    /// It.
    pub svg: String,
}

/// A figure that the sweep has no data for.
#[derive(Debug, Serialize)]
pub struct LeftOut {
    title: &'static str,
    reason: &'static str,
}

/// Pictures, or why there are none.
enum Drawn {
    Pictures(Vec<Picture>),
    Nothing(&'static str),
}

struct Kind {
    id: &'static str,
    title: &'static str,
    caption: &'static str,
    draw: fn(&Answers, &Looks) -> anyhow::Result<Drawn>,
}

const KINDS: [Kind; 6] = [
    Kind {
        id: "curves",
        title: "Accuracy against epsilon",
        caption: "Test accuracy under attack at each strength, mean over seeds. The shaded area below a \
            line, over its width, is expected robustness; the darker band is one standard deviation. n \
            counts the cells, as n=2/3 where more are expected.",
        draw: curves::draw,
    },
    Kind {
        id: "targets",
        title: "Clean accuracy against target epsilon",
        caption: "Test accuracy without a perturbation, by the strength that was trained for, mean over \
            seeds; the band is one standard deviation. A schedule whose line falls pays for robustness \
            with the task. An asterisk behind a schedule: some of its means are over fewer cells than expected.",
        draw: targets::draw,
    },
    Kind {
        id: "means",
        title: "Means by model and by dataset",
        caption: "Mean over the cells of each model (over its datasets and seeds) and of each dataset \
            (over models and seeds), schedules one below another. Whiskers are the 95% interval of the \
            mean; a mean that lacks cells says how many it has.",
        draw: means::draw,
    },
    Kind {
        id: "training",
        title: "Validation accuracy over epochs",
        caption: "Clean accuracy on the validation split after each epoch, a line for each training. The \
            cross is the onset of adaptation: the first epoch with more than 5%. A line without a cross has not adapted.",
        draw: training::draw,
    },
    Kind {
        id: "delays",
        title: "Delay of adaptation against final accuracy",
        caption: "Each training by its delay (epochs before the onset) and its clean accuracy on the test \
            split. A cross marks trainings that never adapted, whose delay counts as all of their epochs; \
            r is Pearson's correlation. Ordinary fine-tuning is left out.",
        draw: delays::draw,
    },
    Kind {
        id: "hinges",
        title: "Where the hinges are",
        caption: "Expected robustness (%) by where the strength begins to rise (T1) and where it reaches \
            the target (T2), as shares of the run; deeper is greater. An asterisk marks means that lack \
            cells.",
        draw: hinges::draw,
    },
];

/// The figures, and those that there are no data for.
pub fn draw(answers: &Answers, looks: &Looks) -> anyhow::Result<(Vec<Figure>, Vec<LeftOut>)> {
    let (mut figures, mut left_out) = (Vec::new(), Vec::new());
    for kind in &KINDS {
        match (kind.draw)(answers, looks)? {
            Drawn::Pictures(pictures) => figures.push(Figure {
                id: kind.id,
                title: kind.title,
                caption: kind.caption,
                pictures,
            }),
            Drawn::Nothing(reason) => left_out.push(LeftOut {
                title: kind.title,
                reason,
            }),
        }
    }
    Ok((figures, left_out))
}

impl Drawn {
    fn of(pictures: Vec<Picture>, reason: &'static str) -> Self {
        if pictures.is_empty() {
            Self::Nothing(reason)
        } else {
            Self::Pictures(pictures)
        }
    }
}
