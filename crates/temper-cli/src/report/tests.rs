//! The page from made-up answers.

use temper_proto::v1::CurveGroup;

use super::{Answers, Page, render, sample};

/// Where `make test-report` wants the pages.
const FOLDER: &str = "TEMPER_REPORT_SAMPLES";

fn page(answers: &Answers) -> String {
    render(&Page::of(answers).unwrap()).unwrap()
}

#[test]
fn samples_are_written_where_they_are_asked_for() {
    let Some(folder) = std::env::var_os(FOLDER).map(std::path::PathBuf::from) else {
        return;
    };
    std::fs::write(folder.join("report.html"), page(&sample::answers())).unwrap();
    std::fs::write(folder.join("empty.html"), page(&sample::unfinished())).unwrap();
}

#[test]
fn page_has_every_section_and_figure_and_asks_for_nothing() {
    let page = page(&sample::answers());
    for id in [
        "summary",
        "results",
        "comparison",
        "figures",
        "curves",
        "targets",
        "means",
        "training",
        "delays",
        "hinges",
        "published",
        "transfer",
        "costs",
        "inputs",
    ] {
        assert!(page.contains(&format!(" id=\"{id}\"")), "{id}");
    }
    assert_eq!(page.matches("<figure ").count(), 6);
    assert!(!page.contains("id=\"left-out\""));
    assert!(!page.contains("<script") && !page.contains("@import") && !page.contains("url("));
    let links = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!links.contains("http://") && !links.contains("https://"));
}

#[test]
fn every_picture_has_a_text_alternative() {
    let page = page(&sample::answers());
    let pictures = page.matches("<svg ").count();
    assert!(pictures > 18, "{pictures}");
    assert_eq!(
        page.matches("<svg role=\"img\" aria-label=\"").count(),
        pictures
    );
    assert_eq!(page.matches("<figcaption>").count(), 6);
}

#[test]
fn published_means_are_the_papers_to_two_decimals() {
    let page = page(&sample::answers());
    for [schedule, target, clean, robust, expected] in [
        ["fixed", "4/255", "38.15", "20.61", "29.20"],
        ["two-hinge", "4/255", "76.18", "36.04", "56.59"],
        ["fixed", "8/255", "19.40", "8.17", "13.29"],
        ["two-hinge", "8/255", "69.35", "21.71", "44.47"],
    ] {
        let cells =
            [clean, robust, expected].map(|text| format!("<td class=\"number\">{text}</td>"));
        let row = format!(
            "<td class=\"\">{schedule}</td><td class=\"\">{}</td>{}",
            target.replace('/', "&#x2f;"),
            cells.concat()
        );
        assert!(page.contains(&row), "{row}");
    }
}

#[test]
fn published_rows_are_labelled_and_the_anomalous_ones_marked() {
    let page = page(&sample::answers());
    assert!(page.contains("published clean") && page.contains("never measured here"));
    // Two rows of three scalars: convnext-base and resnet50 on fgvc-aircraft, fixed at 8/255.
    assert_eq!(page.matches(" †</td>").count(), 6);
}

#[test]
fn best_is_bold_and_what_lacks_cells_is_marked_and_never_best() {
    let answers = sample::answers();
    let page = page(&answers);
    // Three metrics of nine places at two targets; in one of them two schedules do not contend.
    assert_eq!(page.matches("<strong>").count(), 3 * 9 * 2);
    assert!(page.contains("<td class=\"number missing\">–</td>"));
    assert!(page.contains("<td class=\"number missing\">2&#x2f;3</td>"));
    assert!(page.contains("2 of 90 groups lack results"));
    let lacking = |group: &&CurveGroup| group.count < group.expected_count;
    assert_eq!(answers.groups.iter().filter(lacking).count(), 2);
}

#[test]
fn figures_of_means_mark_what_lacks_cells() {
    let page = page(&sample::answers());
    // One group has two of its three cells, and another none, for which there is no line.
    assert_eq!(page.matches("\nlinear (n=2/3)\n").count(), 1);
    assert_eq!(page.matches("\nlinear*\n").count(), 1);
    assert_eq!(page.matches("\nfixed*\n").count(), 0);
    for caption in ["over fewer cells than expected", "where more are expected"] {
        assert!(page.contains(caption), "{caption}");
    }
}

#[test]
fn sweep_without_a_result_says_so_and_why_each_figure_is_not_there() {
    let page = page(&sample::unfinished());
    assert!(page.contains("Nothing has finished yet"));
    assert_eq!(page.matches("<figure ").count(), 0);
    let left_out = page.split("id=\"left-out\"").nth(1).unwrap();
    assert_eq!(left_out.matches("<li>").count(), 6);
    assert!(left_out.contains("Accuracy against epsilon: no evaluation has finished."));
}

#[test]
fn sweep_of_one_target_names_the_figure_that_it_has_no_data_for() {
    let mut answers = sample::answers();
    answers
        .groups
        .retain(|group| group.target_epsilon == "4/255");
    let page = page(&answers);
    assert_eq!(page.matches("<figure ").count(), 5);
    assert!(page.contains("results for two target strengths."));
}

#[test]
fn what_people_wrote_is_text() {
    let mut answers = sample::answers();
    answers.sweep.display_name = "<script>alert(1)</script>".into();
    for group in &mut answers.groups {
        group.model = "<b>vit".into();
    }
    let page = page(&answers);
    assert!(!page.contains("<script>") && !page.contains("<b>"));
    assert!(page.contains("&lt;script&gt;"));
}
