// The kernels' code, compiled once for each instruction set: included by dense_kernels.cpp inside
// a namespace of its own that says how many rows and vectors of sums its registers hold. All sums
// run from the first step to the last in one chain, so tiling changes no bit.
// No include guard and no includes: it is not a header of its own.

using Vector = float __attribute__((vector_size(4 * kLanes), aligned(4), may_alias));
using Half = float __attribute__((vector_size(32), aligned(4), may_alias));
using HalfIndex = int __attribute__((vector_size(32)));

#define LOCKSTEP_INLINE inline __attribute__((always_inline))

LOCKSTEP_INLINE Vector load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
LOCKSTEP_INLINE void store(float* to, Vector values) { *reinterpret_cast<Vector*>(to) = values; }

/// Where the left factors of some rows of sums lie, and how far apart.
struct Left {
  const float* first;
  long row, step;
};

/// Values that the sums of a tile start from, or the sums themselves; row 0 apart = one for all.
struct Start {
  const float* first;
  long row;
};

/// The right factor of some sums: `step` floats from one step to the next.
struct Right {
  const float* first;
  long step;
  bool packed = false;  ///< it is in the cache already, and what comes next is more of the left
};

template <int Rows, int Vectors>
LOCKSTEP_INLINE void tile(Left left, Right right, long steps, Start start, float* sums,
                          long sums_row) {
  Vector acc[Rows][Vectors];
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Vectors; ++j) acc[i][j] = load(start.first + i * start.row + kLanes * j);
  }
  for (long t = 0; t < steps; ++t) {
    Vector b[Vectors];
    const float* row = right.first + t * right.step;
    for (int j = 0; j < Vectors; ++j) b[j] = load(row + kLanes * j);
    if (right.packed) {
      __builtin_prefetch(left.first + (Rows + t / 16) * left.row + t % 16 * 16);
    } else {
      for (int j = 0; j < Vectors; ++j) __builtin_prefetch(row + kLanes * (j + Vectors));
    }
    for (int i = 0; i < Rows; ++i) {
      const float a = left.first[i * left.row + t * left.step];
      for (int j = 0; j < Vectors; ++j) acc[i][j] += a * b[j];
    }
  }
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Vectors; ++j) store(sums + i * sums_row + kLanes * j, acc[i][j]);
  }
}

/// A column of tiles: `rows` rows of kLanes * Vectors sums.
template <int Vectors>
LOCKSTEP_INLINE void tiles(long rows, Left left, Right right, long steps, Start start, float* sums,
                           long sums_row) {
  const auto some = [&]<int Rows>(long r) __attribute__((always_inline)) {
    tile<Rows, Vectors>({left.first + r * left.row, left.row, left.step}, right, steps,
                        {start.first + r * start.row, start.row}, sums + r * sums_row, sums_row);
  };
  long r = 0;
  for (; r + kRows <= rows; r += kRows) some.template operator()<kRows>(r);
  for (; r + 4 <= rows; r += 4) some.template operator()<4>(r);
  for (; r + 2 <= rows; r += 2) some.template operator()<2>(r);
  if (r < rows) some.template operator()<1>(r);
}

/// As tiles<1>, for fewer than kLanes columns: `right` is padded, start and sums are not.
LOCKSTEP_INLINE void narrow_tiles(long rows, long columns, Left left, Right right, long steps,
                                  Start start, float* sums, long sums_row) {
  float padded[kRows * kLanes];
  for (long r = 0; r < rows; r += kRows) {
    const long count = rows - r < kRows ? rows - r : kRows;
    for (long i = 0; i < count; ++i) {
      for (long c = 0; c < kLanes; ++c) {
        padded[kLanes * i + c] = c < columns ? start.first[(r + i) * start.row + c] : 0;
      }
    }
    tiles<1>(count, {left.first + r * left.row, left.row, left.step}, right, steps,
             {padded, kLanes}, padded, kLanes);
    for (long i = 0; i < count; ++i) {
      for (long c = 0; c < columns; ++c) sums[(r + i) * sums_row + c] = padded[kLanes * i + c];
    }
  }
}

void outer(const OuterSum& call) {
  static const float zeros[kLanes * kVectors] = {};
  float packed[kStretch * kLanes];
  long first = 0;
  do {
    const long remaining = call.steps - first;
    const long steps = remaining < kStretch ? remaining : kStretch;
    const Left left{call.left + first * call.left_step, call.left_row, call.left_step};
    const float* right = call.right + first * call.right_step;
    const auto start = [&](long column) -> Start {
      if (first == 0) return {zeros, 0};
      return {call.sums + column, call.sums_row};
    };
    long column = 0;
    for (; column + kLanes * kVectors <= call.columns; column += kLanes * kVectors) {
      tiles<kVectors>(call.rows, left, {right + column, call.right_step}, steps, start(column),
                      call.sums + column, call.sums_row);
    }
    for (; column + kLanes <= call.columns; column += kLanes) {
      tiles<1>(call.rows, left, {right + column, call.right_step}, steps, start(column),
               call.sums + column, call.sums_row);
    }
    if (const long rest = call.columns - column; rest > 0) {
      for (long t = 0; t < steps; ++t) {
        for (long c = 0; c < kLanes; ++c) {
          packed[kLanes * t + c] = c < rest ? right[t * call.right_step + column + c] : 0;
        }
      }
      narrow_tiles(call.rows, rest, left, {packed, kLanes}, steps, start(column),
                   call.sums + column, call.sums_row);
    }
    first += steps;
  } while (first < call.steps);
}

LOCKSTEP_INLINE void transpose_8x8(const float* from, long from_row, float* to, long to_row) {
  Half rows[8];
  for (int i = 0; i < 8; ++i) rows[i] = *reinterpret_cast<const Half*>(from + i * from_row);
  for (int round = 0; round < 3; ++round) {
    Half next[8];
    for (int i = 0; i < 4; ++i) {
      next[2 * i] = __builtin_shuffle(rows[i], rows[i + 4], HalfIndex{0, 8, 1, 9, 2, 10, 3, 11});
      next[2 * i + 1] =
          __builtin_shuffle(rows[i], rows[i + 4], HalfIndex{4, 12, 5, 13, 6, 14, 7, 15});
    }
    for (int i = 0; i < 8; ++i) rows[i] = next[i];
  }
  for (int i = 0; i < 8; ++i) *reinterpret_cast<Half*>(to + i * to_row) = rows[i];
}

/// packed[k][r] = rows[r][k] for r below `count`, zero up to `width`.
LOCKSTEP_INLINE void pack(const float* rows, long row, long count, long width, long steps,
                          float* packed) {
  long r = 0;
  for (; r + 8 <= count; r += 8) {
    long k = 0;
    for (; k + 8 <= steps; k += 8) {
      transpose_8x8(rows + r * row + k, row, packed + k * width + r, width);
    }
    for (; k < steps; ++k) {
      for (long i = r; i < r + 8; ++i) packed[k * width + i] = rows[i * row + k];
    }
  }
  for (; r < width; ++r) {
    for (long k = 0; k < steps; ++k) packed[k * width + r] = r < count ? rows[r * row + k] : 0;
  }
}

/// Samples on the lanes: a weight is read once for kLanes * Vectors of them.
template <int Vectors>
LOCKSTEP_INLINE void forward_block(const DenseForward& call, long first_row, long first_output,
                                   long outputs, float* packed, float* sums) {
  constexpr long kWidth = kLanes * Vectors;
  const long remaining = call.rows - first_row;
  const long rows = remaining < kWidth ? remaining : kWidth;
  for (long n = 0; n < outputs; ++n) {
    for (long r = 0; r < kWidth; ++r) sums[n * kWidth + r] = call.bias[first_output + n];
  }
  for (long first = 0; first < call.inputs_count; first += kStretch) {
    const long left = call.inputs_count - first;
    const long steps = left < kStretch ? left : kStretch;
    pack(call.inputs + first_row * call.inputs_row + first, call.inputs_row, rows, kWidth, steps,
         packed);
    const float* weights = call.weights + first_output * call.inputs_count + first;
    tiles<Vectors>(outputs, {weights, call.inputs_count, 1}, {packed, kWidth, true}, steps,
                   {sums, kWidth}, sums, kWidth);
  }
  for (long n = 0; n < outputs; ++n) {
    for (long r = 0; r < kWidth; ++r) {
      float& sum = sums[n * kWidth + r];
      sum = call.rectify && sum < 0 ? 0 : sum;
    }
  }
  // Back to one sample a row: the same transposition the other way.
  float* out = call.outputs + first_row * call.outputs_row + first_output;
  long n = 0;
  for (; n + 8 <= outputs; n += 8) {
    long r = 0;
    for (; r + 8 <= rows; r += 8) {
      transpose_8x8(sums + n * kWidth + r, kWidth, out + r * call.outputs_row + n,
                    call.outputs_row);
    }
    for (; r < rows; ++r) {
      for (long i = n; i < n + 8; ++i) out[r * call.outputs_row + i] = sums[i * kWidth + r];
    }
  }
  for (; n < outputs; ++n) {
    for (long r = 0; r < rows; ++r) out[r * call.outputs_row + n] = sums[n * kWidth + r];
  }
}

/// All outputs of one block of samples.
template <int Vectors>
LOCKSTEP_INLINE void forward_rows(const DenseForward& call, long row, float* packed, float* sums) {
  for (long n = 0; n < call.outputs_count; n += kForwardOutputs) {
    const long left = call.outputs_count - n;
    forward_block<Vectors>(call, row, n, left < kForwardOutputs ? left : kForwardOutputs, packed,
                           sums);
  }
}

void forward(const DenseForward& call) {
  float packed[kStretch * kLanes * kVectors];
  float sums[kForwardOutputs * kLanes * kVectors];
  for (long row = 0; row < call.rows;) {
    const long left = call.rows - row;
    if (left > kLanes * 2) {
      forward_rows<kVectors>(call, row, packed, sums);
      row += kLanes * kVectors;
    } else if (left > kLanes) {
      forward_rows<2>(call, row, packed, sums);
      row += kLanes * 2;
    } else {
      forward_rows<1>(call, row, packed, sums);
      row += kLanes;
    }
  }
}

#undef LOCKSTEP_INLINE
