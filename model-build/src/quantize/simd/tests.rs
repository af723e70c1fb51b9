//! Every kernel computes, lane by lane, what the scalar one does.

use super::*;

/// Numbers at which operations differ when they differ at all.
const EDGES: [f32; 26] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1.5,
    2.5,
    -2.5,
    0.1,
    -0.7,
    3.999_999_8,
    15.5,
    1e-40,
    -1e-40,
    1e-45,
    f32::MIN_POSITIVE,
    1e30,
    -1e30,
    f32::MAX,
    f32::MIN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    4_194_304.0,
    8_388_609.0,
    -123_456.79,
];

struct Operations {
    a: [f32; MOST_LANES],
    b: [f32; MOST_LANES],
}

impl Job for Operations {
    type Output = Vec<(&'static str, Vec<i32>)>;

    #[inline(always)]
    fn run<L: Lanes>(self, s: L) -> Self::Output {
        let table: [f32; 16] = std::array::from_fn(|i| i as f32 * 1.5);
        let bytes = self.a.map(|v| v.to_le_bytes()[2]);
        let mut all: Self::Output = Vec::new();
        for at in (0..MOST_LANES).step_by(L::N) {
            let (a, b) = (s.load(&self.a[at..]), s.load(&self.b[at..]));
            let (i, j) = (s.to_bits(a), s.to_bits(b));
            let (lt, eq) = (s.lt(a, b), s.eq(a, b));
            let bit = |m| s.select_i(m, s.splat_i(1), s.splat_i(0));
            let in_range = s.select(s.lt(s.abs(a), s.splat(1e9)), a, s.splat(7.9));
            let small = s.select(s.lt(s.abs(a), s.splat(2e6)), a, s.splat(-2.5));
            let values = [
                ("splat", s.to_bits(s.splat(1.25))),
                ("add", s.to_bits(s.add(a, b))),
                ("sub", s.to_bits(s.sub(a, b))),
                ("mul", s.to_bits(s.mul(a, b))),
                ("div", s.to_bits(s.div(a, b))),
                ("sqrt", s.to_bits(s.sqrt(a))),
                ("abs", s.to_bits(s.abs(a))),
                ("neg", s.to_bits(s.neg(a))),
                ("min", s.to_bits(s.min(a, b))),
                ("max", s.to_bits(s.max(a, b))),
                ("lt", bit(lt)),
                ("le", bit(s.le(a, b))),
                ("gt", bit(s.gt(a, b))),
                ("eq", bit(eq)),
                ("select", s.to_bits(s.select(lt, a, b))),
                ("with_bits", s.to_bits(s.with_bits(i))),
                ("to_f32", s.to_bits(s.to_f32(i))),
                ("to_i32", s.to_i32(in_range)),
                // Adding zero makes a zero positive.
                ("round", s.to_bits(s.add(s.round(small), s.splat(0.0)))),
                ("clamp_positive", s.to_bits(s.clamp_positive(small, s.splat(15.0)))),
                ("at_least_zero", s.to_bits(s.at_least_zero(small))),
                ("at_most", s.to_bits(s.at_most(small, s.splat(15.0)))),
                ("lookup_4", s.to_bits(s.lookup_4(&table.as_chunks().0[1], i))),
                ("lookup_8", s.to_bits(s.lookup_8(&table.as_chunks().0[1], i))),
                ("lookup", s.to_bits(s.lookup(&table, i))),
                ("load_bytes", s.load_bytes(&bytes[at..])),
                ("store_bytes", {
                    let mut stored = [0; MOST_LANES];
                    s.store_bytes(i, &mut stored);
                    s.load_bytes(&stored)
                }),
                ("load_i", s.load_i(&self.a.map(|v| v.to_bits().cast_signed())[at..])),
                ("add_i", s.add_i(i, j)),
                ("sub_i", s.sub_i(i, j)),
                ("min_i", s.min_i(i, j)),
                ("max_i", s.max_i(i, j)),
                ("clamp_i", s.clamp_i(i, -5, 100)),
                ("and_i", s.and_i(i, j)),
                ("or_i", s.or_i(i, j)),
                ("xor_i", s.xor_i(i, j)),
                ("shl", s.shl(i, 3)),
                ("shr", s.shr(i, 5)),
                ("lt_i", bit(s.lt_i(i, j))),
                ("eq_i", bit(s.eq_i(i, j))),
                ("nearest", s.nearest(a)),
                ("and", bit(s.and(lt, s.lt_i(i, j)))),
                ("or", bit(s.or(lt, eq))),
                ("not", bit(s.not(lt))),
            ];
            for (name, value) in values {
                let mut lanes = [0; MOST_LANES];
                s.store_i(value, &mut lanes);
                match all.iter_mut().find(|(n, _)| *n == name) {
                    Some((_, list)) => list.extend(&lanes[..L::N]),
                    None => all.push((name, lanes[..L::N].to_vec())),
                }
            }
        }
        all
    }
}

/// A result that is a NaN has no defined sign or payload.
fn same(name: &str, a: i32, b: i32) -> bool {
    let nan = |v: i32| f32::from_bits(v.cast_unsigned()).is_nan();
    let float = ["add", "sub", "mul", "div", "sqrt"].contains(&name);
    a == b || (float && nan(a) && nan(b))
}

#[test]
fn every_kernel_computes_what_the_scalar_one_does() {
    for shift in 0..EDGES.len() {
        for offset in [0, 10] {
            let a: [f32; MOST_LANES] = std::array::from_fn(|i| EDGES[(i + offset) % EDGES.len()]);
            let b = std::array::from_fn(|i| EDGES[(i + offset + shift) % EDGES.len()]);
            let expected = dispatch(Kernel::Scalar, Operations { a, b });
            for kernel in Kernel::available() {
                let got = dispatch(kernel, Operations { a, b });
                assert_eq!(got.len(), expected.len());
                for ((name, got), (_, expected)) in got.iter().zip(&expected) {
                    for lane in 0..MOST_LANES {
                        assert!(
                            same(name, got[lane], expected[lane]),
                            "{kernel:?} {name}({:e}, {:e}) = {:#x}, not {:#x}",
                            a[lane],
                            b[lane],
                            got[lane],
                            expected[lane],
                        );
                    }
                }
            }
        }
    }
}

struct Any([f32; MOST_LANES]);
impl Job for Any {
    type Output = usize;
    #[inline(always)]
    fn run<L: Lanes>(self, s: L) -> usize {
        (0..MOST_LANES)
            .step_by(L::N)
            .filter(|&at| s.any(s.lt(s.load(&self.0[at..]), s.splat(0.0))))
            .count()
    }
}

#[test]
fn any_sees_each_single_lane() {
    for kernel in Kernel::available() {
        assert_eq!(dispatch(kernel, Any([1.0; MOST_LANES])), 0, "{kernel:?}");
        for lane in 0..MOST_LANES {
            let mut values = [1.0; MOST_LANES];
            values[lane] = -1.0;
            assert_eq!(dispatch(kernel, Any(values)), 1, "{kernel:?} {lane}");
        }
    }
}

struct Across([f32; MOST_LANES], [u16; MOST_LANES]);
impl Job for Across {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, s: L) {
        for at in (0..MOST_LANES).step_by(L::N) {
            let values = &self.0[at..at + L::N];
            let least = values.iter().copied().fold(f32::INFINITY, f32::min);
            assert_eq!(s.least(s.load(values)), least);
            let bits: u32 = (0..).zip(values).map(|(i, v)| u32::from(*v < 3.0) << i).sum();
            assert_eq!(s.bits(s.lt(s.load(values), s.splat(3.0))), bits);
            let mut wide = [0; MOST_LANES];
            s.store_i(s.load_u16(&self.1[at..at + L::N]), &mut wide);
            assert!(wide[..L::N].iter().zip(&self.1[at..]).all(|(a, b)| *a == i32::from(*b)));
        }
    }
}

#[test]
fn the_least_lane_its_bit_and_narrow_numbers_are_right_in_every_lane() {
    for kernel in Kernel::available() {
        for lane in 0..MOST_LANES {
            let values = std::array::from_fn(|i| ((i + lane) % MOST_LANES) as f32 + 0.5);
            let narrow = std::array::from_fn(|i| if i == lane { u16::MAX } else { 7 });
            dispatch(kernel, Across(values, narrow));
        }
    }
}

struct Transpose<'a>(&'a [f32], usize);
impl Job for Transpose<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Lanes>(self, s: L) {
        let columns = self.1;
        for count in 0..=L::N {
            let rows: Vec<&[f32]> = self.0.chunks(columns).take(count).collect();
            let mut to = vec![s.splat(7.0); columns];
            s.transpose(&rows, &mut to);
            for (e, vector) in to.iter().enumerate() {
                let mut lanes = [0.0; MOST_LANES];
                s.store(*vector, &mut lanes);
                for (lane, value) in lanes[..L::N].iter().enumerate() {
                    let expected = rows.get(lane).map_or(0.0, |row| row[e]);
                    assert_eq!(*value, expected, "row {lane} of {count}, element {e}");
                }
            }
        }
    }
}

#[test]
fn transposing_puts_each_row_into_its_lane() {
    let values: Vec<f32> = (0..u16::MAX).map(f32::from).collect();
    for kernel in Kernel::available() {
        for columns in [1, 5, 8, 16, 37, 64] {
            dispatch(kernel, Transpose(&values, columns));
        }
    }
}
