//! `Upsample` and `Resize`: one operator under two names, whose coordinates became a choice.
//!
//! ```text
//! opset 7:  x ─▶ Upsample(scales) ─▶ y
//! opset 9:  x, scales ─▶ Upsample ─▶ y
//! opset 10: x, scales ─▶ Resize ─▶ y
//! opset 11: x, roi, scales, sizes ─▶ Resize(coordinate_transformation_mode = asymmetric) ─▶ y
//! ```

use super::site::Site;
use super::{Step, keep};
use crate::error::Result;
use crate::hub::{AttrValue, Tensor};

fn text(value: &str) -> AttrValue {
    AttrValue::String(value.to_owned().into())
}

fn scales_up(site: &mut Site<'_, '_>) -> Result<()> {
    let scales = match site.node.attr("scales") {
        Some(AttrValue::Floats(v)) => v.clone(),
        _ => return Ok(()),
    };
    site.unset("scales");
    let scales = site.tensor(Tensor::from_f32(vec![scales.len() as u64], &scales)?)?;
    site.set_input(1, Some(scales));
    site.put();
    Ok(())
}

fn scales_down(site: &mut Site<'_, '_>) -> Result<()> {
    let scales = site.floats(1, "scales")?.unwrap_or_default();
    site.set("scales", AttrValue::Floats(scales));
    site.cut_inputs(1);
    site.put();
    Ok(())
}

fn upsample_up(site: &mut Site<'_, '_>) -> Result<()> {
    "Resize".clone_into(&mut site.node.op);
    site.put();
    Ok(())
}

fn resize_to_upsample(site: &mut Site<'_, '_>) -> Result<()> {
    let scales = site.floats(1, "scales")?.unwrap_or_default();
    if scales.iter().any(|s| *s < 1.0) {
        return Err(site.lacks("`Upsample` does not make axes shorter"));
    }
    "Upsample".clone_into(&mut site.node.op);
    site.put();
    Ok(())
}

fn coordinates_up(site: &mut Site<'_, '_>) -> Result<()> {
    let roi = site.tensor(Tensor::from_f32(vec![0], &[])?)?;
    let scales = site.input(1)?;
    site.set_input(1, Some(roi));
    site.set_input(2, Some(scales));
    site.set("coordinate_transformation_mode", text("asymmetric"));
    if site.str_or("mode", "nearest")? == "nearest" {
        site.set("nearest_mode", text("floor"));
    }
    site.put();
    Ok(())
}

/// The scales of a node of opset 11 to 19, computed from its sizes where it has those.
fn scales(site: &Site<'_, '_>) -> Result<Vec<f32>> {
    if let Some(scales) = site.floats(2, "scales")?.filter(|s| !s.is_empty()) {
        return Ok(scales);
    }
    let sizes = site.ints(3, "sizes")?.unwrap_or_default();
    let shape = site.fixed_shape(0).ok_or_else(|| site.unknown("the shape of input 0"))?;
    #[allow(clippy::cast_precision_loss)] // lengths of axes are far below 2^24, or the check fails
    let scales: Vec<f32> = sizes.iter().zip(&shape).map(|(s, n)| *s as f32 / *n as f32).collect();
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    let exact = scales
        .iter()
        .zip(&shape)
        .zip(&sizes)
        .all(|((s, n), size)| (*s * *n as f32).floor() as i64 == *size);
    if !exact || scales.len() != shape.len() {
        return Err(site.lacks("`Resize` takes scales, and these sizes are not made of any"));
    }
    Ok(scales)
}

fn coordinates_down(site: &mut Site<'_, '_>) -> Result<()> {
    let scales = scales(site)?;
    let mode = site.str_or("mode", "nearest")?;
    let coordinates = site.str_or("coordinate_transformation_mode", "half_pixel")?;
    let nearest = site.str_or("nearest_mode", "round_prefer_floor")?;
    #[allow(clippy::float_cmp)] // whole numbers are exact
    let whole = scales.iter().all(|s| *s >= 1.0 && s.trunc() == *s);
    let longer = scales.iter().all(|s| *s >= 1.0);
    #[allow(clippy::float_cmp)]
    let nothing = scales.iter().all(|s| *s == 1.0);
    let same = match (mode.as_str(), coordinates.as_str()) {
        _ if nothing => true,
        ("nearest", "asymmetric") => longer && nearest == "floor",
        // The centre of a pixel made of whole ones lies within the one it is made of.
        ("nearest", "half_pixel" | "pytorch_half_pixel" | "half_pixel_symmetric") => {
            whole && nearest.starts_with("round")
        }
        ("linear", "asymmetric") => true,
        _ => false,
    };
    if !same {
        return Err(
            site.lacks(format!("`Resize` has no {coordinates} coordinates with mode {mode}"))
        );
    }
    for name in [
        "coordinate_transformation_mode",
        "nearest_mode",
        "cubic_coeff_a",
        "exclude_outside",
        "extrapolation_value",
    ] {
        site.unset(name);
    }
    site.cut_inputs(1);
    let scales = site.tensor(Tensor::from_f32(vec![scales.len() as u64], &scales)?)?;
    site.set_input(1, Some(scales));
    site.put();
    Ok(())
}

/// Opset 11 wants a region and scales even where they say nothing.
fn optional_down(site: &mut Site<'_, '_>) -> Result<()> {
    for i in [1, 2] {
        if site.node.input(i).is_none() {
            let nothing = site.tensor(Tensor::from_f32(vec![0], &[])?)?;
            site.set_input(i, Some(nothing));
        }
    }
    site.put();
    Ok(())
}

/// What is given for some axes is picked out of it and of what leaves an axis as it is.
fn axes_down(site: &mut Site<'_, '_>) -> Result<()> {
    aspect_down(site)?;
    let Some(axes) = site.int_list("axes")? else { return Ok(()) };
    let rank = site.signed_rank(0)?;
    let x = site.input(0)?;
    if site.node.input(1).is_some()
        && site.str_or("coordinate_transformation_mode", "")? == "tf_crop_and_resize"
    {
        roi_down(site, &axes, rank)?;
    }
    let along = [("axis", AttrValue::Int(0))];
    for (i, axes_first) in [(2, false), (3, true)] {
        let Some(given) = site.node.input(i) else { continue };
        if site.constant(i).is_some_and(Tensor::is_empty) {
            continue;
        }
        // Sizes come after the shape, scales after a one.
        let (rest, offset) = if axes_first {
            (site.op("Shape", &[x], &[])?, rank)
        } else {
            (site.tensor(Tensor::from_f32(vec![1], &[1.0])?)?, 1)
        };
        let mut pick: Vec<i64> = if axes_first {
            (0..rank).collect()
        } else {
            vec![0; usize::try_from(rank).unwrap_or(0)]
        };
        place(&mut pick, &axes, rank, offset);
        let pick = site.list(&pick)?;
        let all = site.op("Concat", &[rest, given], &along)?;
        let all = site.op("Gather", &[all, pick], &along)?;
        site.set_input(i, Some(all));
    }
    site.unset("axes");
    site.put();
    Ok(())
}

fn place(pick: &mut [i64], axes: &[i64], rank: i64, offset: i64) {
    for (j, axis) in (0i64..).zip(axes) {
        let axis = if *axis < 0 { axis + rank } else { *axis };
        if let Some(slot) = usize::try_from(axis).ok().and_then(|a| pick.get_mut(a)) {
            *slot = offset + j;
        }
    }
}

/// A region is starts and ends of the axes; it is 0 to 1 of the others.
fn roi_down(site: &mut Site<'_, '_>, axes: &[i64], rank: i64) -> Result<()> {
    let given = site.input(1)?;
    let dtype = site.dtype(1)?;
    let (zero, one) = (site.number(dtype, 0.0)?, site.number(dtype, 1.0)?);
    let (zero, one) =
        (site.with_axes("Unsqueeze", zero, &[0])?, site.with_axes("Unsqueeze", one, &[0])?);
    let count = usize::try_from(rank).unwrap_or(0);
    let (mut starts, mut ends) = (vec![0; count], vec![1; count]);
    place(&mut starts, axes, rank, 2);
    place(&mut ends, axes, rank, 2 + i64::try_from(axes.len()).unwrap_or(0));
    starts.extend(ends);
    let pick = site.list(&starts)?;
    let along = [("axis", AttrValue::Int(0))];
    let all = site.op("Concat", &[zero, one, given], &along)?;
    let all = site.op("Gather", &[all, pick], &along)?;
    site.set_input(1, Some(all));
    Ok(())
}

/// Sizes that keep the ratio of the axes become the sizes that come of it.
fn aspect_down(site: &mut Site<'_, '_>) -> Result<()> {
    let policy = site.str_or("keep_aspect_ratio_policy", "stretch")?;
    site.unset("keep_aspect_ratio_policy");
    if policy == "stretch" || site.node.input(3).is_none() {
        site.put();
        return Ok(());
    }
    let sizes = site.ints(3, "sizes")?.unwrap_or_default();
    let shape = site.fixed_shape(0).ok_or_else(|| site.unknown("the shape of input 0"))?;
    let axes = site.int_list("axes")?;
    let rank = site.signed_rank(0)?;
    let axes = axes.unwrap_or_else(|| (0..rank).collect());
    let length = |axis: &i64| {
        let axis = if *axis < 0 { axis + rank } else { *axis };
        usize::try_from(axis).ok().and_then(|a| shape.get(a)).copied().unwrap_or(1)
    };
    #[allow(clippy::cast_precision_loss)]
    let ratios: Vec<f32> =
        sizes.iter().zip(&axes).map(|(s, a)| *s as f32 / length(a) as f32).collect();
    let pick = if policy == "not_larger" { f32::min } else { f32::max };
    let Some(ratio) = ratios.into_iter().reduce(pick) else { return Ok(()) };
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    let sizes: Vec<i64> =
        axes.iter().map(|a| (ratio * length(a) as f32 + 0.5).floor() as i64).collect();
    let sizes = site.list(&sizes)?;
    site.set_input(3, Some(sizes));
    site.put();
    Ok(())
}

fn symmetric_down(site: &mut Site<'_, '_>) -> Result<()> {
    if site.str_or("coordinate_transformation_mode", "half_pixel")? == "half_pixel_symmetric" {
        return Err(site.lacks("`Resize` has no half_pixel_symmetric coordinates"));
    }
    Ok(())
}

pub(super) static STEPS: &[Step] = &[
    Step { op: "Upsample", version: 9, up: scales_up, down: scales_down },
    Step { op: "Upsample", version: 10, up: upsample_up, down: keep },
    Step { op: "Resize", version: 10, up: keep, down: resize_to_upsample },
    Step { op: "Resize", version: 11, up: coordinates_up, down: coordinates_down },
    Step { op: "Resize", version: 13, up: keep, down: optional_down },
    Step { op: "Resize", version: 18, up: keep, down: axes_down },
    Step { op: "Resize", version: 19, up: keep, down: symmetric_down },
];
