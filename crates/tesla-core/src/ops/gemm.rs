//! Products of matrices that lie in slices: the one place of the workspace with `unsafe`.
//!
//! The crate `gemm` takes raw pointers. The safe way to the same code, a product of two tensors,
//! copies its operands into tensors, allocates the result and cannot add to it, and those copies
//! took longer than the products of a convolution. [`multiply`] checks what the pointers rely on:
//! every element it names lies in its slice, and no two of the result are the same.

/// A matrix in a slice, with the distance from one row to the next and from one column to the next.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) values: &'a [f32],
    pub(super) row: usize,
    pub(super) column: usize,
}

/// A matrix in a slice that is written.
pub(super) struct MatrixMut<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) row: usize,
    pub(super) column: usize,
}

/// `out = a b`, or `out += a b` where `add` is true, on the calling thread.
///
/// # Shapes
/// - `a`: `[m, k]`, `b`: `[k, n]`, `out`: `[m, n]`
///
/// # Panics
/// When a slice is shorter than its matrix, or two elements of `out` are one.
pub(super) fn multiply(
    [m, n, k]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_>,
    out: MatrixMut<'_>,
    add: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
    check([m, k], a.values.len(), [a.row, a.column]);
    check([k, n], b.values.len(), [b.row, b.column]);
    check([m, n], out.values.len(), [out.row, out.column]);
    let apart = out.row > (n - 1) * out.column && (n == 1 || out.column > 0)
        || out.column > (m - 1) * out.row && (m == 1 || out.row > 0);
    assert!(apart, "elements of the result lie on each other");
    let stride = |step: usize| isize::try_from(step).expect("a stride fits a pointer offset");
    #[expect(unsafe_code, reason = "see the head of this file")]
    // SAFETY: the checks above; the borrow of `out` is exclusive.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.values.as_mut_ptr(),
            stride(out.column),
            stride(out.row),
            add,
            a.values.as_ptr(),
            stride(a.column),
            stride(a.row),
            b.values.as_ptr(),
            stride(b.column),
            stride(b.row),
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Whether the last element of a matrix lies in its slice.
fn check([rows, columns]: [usize; 2], length: usize, [row, column]: [usize; 2]) {
    let last = |count: usize, step: usize| (count - 1).checked_mul(step);
    let fits = rows == 0
        || columns == 0
        || last(rows, row)
            .zip(last(columns, column))
            .and_then(|(a, b)| a.checked_add(b))
            .is_some_and(|last| last < length);
    assert!(fits, "a matrix of {rows}x{columns} does not fit a slice of {length}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_follow_strides_and_add() {
        // [1 2; 3 4; 5 6] times [1 0 2; 0 1 3], the first by columns.
        let a = Matrix {
            values: &[1.0, 3.0, 5.0, 2.0, 4.0, 6.0],
            row: 1,
            column: 3,
        };
        let b = Matrix {
            values: &[1.0, 0.0, 2.0, 0.0, 1.0, 3.0],
            row: 3,
            column: 1,
        };
        let mut values = [1.0; 9];
        for (add, first) in [(false, 1.0), (true, 2.0)] {
            let out = MatrixMut {
                values: &mut values,
                row: 3,
                column: 1,
            };
            multiply([3, 3, 2], a, b, out, add);
            assert_eq!(values[0], first);
        }
        assert_eq!(values, [2.0, 4.0, 16.0, 6.0, 8.0, 36.0, 10.0, 12.0, 56.0]);
    }

    #[test]
    fn a_short_slice_and_an_overlap_are_refused() {
        let matrix = |values| Matrix {
            values,
            row: 2,
            column: 1,
        };
        let refused = |length: usize, row: usize| {
            let run = move || {
                let mut values = vec![0.0; length];
                let out = MatrixMut {
                    values: &mut values,
                    row,
                    column: 1,
                };
                multiply([2, 2, 2], matrix(&[0.0; 4]), matrix(&[0.0; 4]), out, false);
            };
            std::panic::catch_unwind(run).is_err()
        };
        assert!(refused(3, 2) && refused(4, 1) && !refused(4, 2));
    }
}
