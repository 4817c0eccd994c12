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

/// The right factor of some sums: `step` floats from one step to the next. What comes after it in
/// memory order is fetched while these sums are made: `next` and its rows, 16 lines of each.
struct Right {
  const float* first;
  long step;
  const float* next = nullptr;
  long next_row = 0;
};

template <int Rows, int Vectors>
LOCKSTEP_INLINE void tile(Left left, Right right, long steps, Start start, float* sums,
                          long sums_row, bool rectify) {
  Vector acc[Rows][Vectors];
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Vectors; ++j) acc[i][j] = load(start.first + i * start.row + kLanes * j);
  }
  for (long t = 0; t < steps; ++t) {
    Vector b[Vectors];
    const float* row = right.first + t * right.step;
    for (int j = 0; j < Vectors; ++j) b[j] = load(row + kLanes * j);
    if (right.next != nullptr) {
      __builtin_prefetch(right.next + t / 16 * right.next_row + t % 16 * 16);
    } else {
      for (int j = 0; j < Vectors; ++j) __builtin_prefetch(row + kLanes * (j + Vectors));
    }
    for (int i = 0; i < Rows; ++i) {
      const float a = left.first[i * left.row + t * left.step];
      for (int j = 0; j < Vectors; ++j) acc[i][j] += a * b[j];
    }
  }
  for (int i = 0; i < Rows; ++i) {
    for (int j = 0; j < Vectors; ++j) {
      const Vector positive = acc[i][j] > 0 ? acc[i][j] : Vector{};
      store(sums + i * sums_row + kLanes * j, rectify ? positive : acc[i][j]);
    }
  }
}

/// A column of tiles: `rows` rows of kLanes * Vectors sums.
template <int Vectors>
LOCKSTEP_INLINE void tiles(long rows, Left left, Right right, long steps, Start start, float* sums,
                           long sums_row, bool rectify) {
  const auto some = [&]<int Rows>(long r) __attribute__((always_inline)) {
    Right here = right;
    if (right.next != nullptr) here.next += r / kRows * 16 * right.next_row;
    tile<Rows, Vectors>({left.first + r * left.row, left.row, left.step}, here, steps,
                        {start.first + r * start.row, start.row}, sums + r * sums_row, sums_row,
                        rectify);
  };
  long r = 0;
  for (; r + kRows <= rows; r += kRows) some.template operator()<kRows>(r);
  for (; r + 4 <= rows; r += 4) some.template operator()<4>(r);
  for (; r + 2 <= rows; r += 2) some.template operator()<2>(r);
  if (r < rows) some.template operator()<1>(r);
}

/// As tiles<1>, for fewer than kLanes columns: `right` is padded, start and sums are not.
LOCKSTEP_INLINE void narrow_tiles(long rows, long columns, Left left, Right right, long steps,
                                  Start start, float* sums, long sums_row, bool rectify) {
  float padded[kRows * kLanes];
  for (long r = 0; r < rows; r += kRows) {
    const long count = rows - r < kRows ? rows - r : kRows;
    for (long i = 0; i < count; ++i) {
      for (long c = 0; c < kLanes; ++c) {
        padded[kLanes * i + c] = c < columns ? start.first[(r + i) * start.row + c] : 0;
      }
    }
    tiles<1>(count, {left.first + r * left.row, left.row, left.step}, right, steps,
             {padded, kLanes}, padded, kLanes, rectify);
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
                      call.sums + column, call.sums_row, false);
    }
    for (; column + kLanes <= call.columns; column += kLanes) {
      tiles<1>(call.rows, left, {right + column, call.right_step}, steps, start(column),
               call.sums + column, call.sums_row, false);
    }
    if (const long rest = call.columns - column; rest > 0) {
      for (long t = 0; t < steps; ++t) {
        for (long c = 0; c < kLanes; ++c) {
          packed[kLanes * t + c] = c < rest ? right[t * call.right_step + column + c] : 0;
        }
      }
      narrow_tiles(call.rows, rest, left, {packed, kLanes}, steps, start(column),
                   call.sums + column, call.sums_row, false);
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

/// packed[k][n] = weights[n][k] for n below `count`, zero up to `width`.
LOCKSTEP_INLINE void pack(const float* weights, long weights_row, long count, long width,
                          long steps, float* packed) {
  long n = 0;
  for (; n + 8 <= count; n += 8) {
    long k = 0;
    for (; k + 8 <= steps; k += 8) {
      transpose_8x8(weights + n * weights_row + k, weights_row, packed + k * width + n, width);
    }
    for (; k < steps; ++k) {
      for (long i = n; i < n + 8; ++i) packed[k * width + i] = weights[i * weights_row + k];
    }
  }
  for (; n < width; ++n) {
    for (long k = 0; k < steps; ++k) {
      packed[k * width + n] = n < count ? weights[n * weights_row + k] : 0;
    }
  }
}

void forward(const DenseForward& call) {
  float packed[kStretch * kLanes * kVectors];
  const long k_count = call.inputs_count;
  for (long n = 0; n < call.outputs_count;) {
    const long remaining = call.outputs_count - n;
    const long width = remaining >= kLanes * kVectors ? kLanes * kVectors : kLanes;
    const long count = remaining < width ? remaining : width;
    float* out = call.outputs + n;
    for (long first = 0; first < k_count; first += kStretch) {
      const long steps = k_count - first < kStretch ? k_count - first : kStretch;
      const bool rectify = call.rectify && first + steps == k_count;
      pack(call.weights + n * k_count + first, k_count, count, width, steps, packed);
      const Left left{call.inputs + first, call.inputs_row, 1};
      const bool last = first + steps == k_count;
      const float* next =
          last ? call.weights + (n + width) * k_count : call.weights + n * k_count + first + steps;
      const Right right{packed, width, next, k_count};
      const Start start = first == 0 ? Start{call.bias + n, 0} : Start{out, call.outputs_row};
      if (count < width) {
        narrow_tiles(call.rows, count, left, right, steps, start, out, call.outputs_row, rectify);
      } else if (width == kLanes) {
        tiles<1>(call.rows, left, right, steps, start, out, call.outputs_row, rectify);
      } else {
        tiles<kVectors>(call.rows, left, right, steps, start, out, call.outputs_row, rectify);
      }
    }
    n += count;
  }
}

#undef LOCKSTEP_INLINE
