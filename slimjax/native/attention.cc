// softmax(scale * Q K^T) V, block by block, and its gradient by recomputation.
//
// A query at row t sees keys low[t] <= s < high[t] of its own segment. Scores live in
// blocks of 128 x 128; see slimjax/nn/attention_blocked.py for the formulas.
#include <cmath>

#include "bfloat16.h"
#include "parallel.h"
#include "vector_math.h"

namespace slimjax {

constexpr int64_t kBlock = 128;  // Queries, and keys, of a block of scores.
constexpr int64_t kChunk =
    1024;  // Keys whose gradients stay near while queries pass by.

struct Shape {
  int64_t batch, queries, heads, keys, groups, width;
  int64_t members() const { return heads / groups; }
  int64_t padded_keys() const { return round_up(keys, kBlock); }
  int64_t padded_width() const { return round_up(width, kPanel); }
};

// Rotary positions: cosines and sines [B, T, H / 2] of each row's angles, or null.
struct Rotary {
  const float *cos, *sin;

  // Turns the pairs (i, i + H / 2) of rows of `width` numbers, or turns them back.
  void turn(const float* x, int64_t stride, int64_t first, int64_t rows, int64_t width,
            bool back, float* out, int64_t out_stride) const {
    const int64_t half = width / 2;
    for (int64_t r = 0; r < rows; ++r, x += stride, out += out_stride) {
      const float *c = cos + (first + r) * half, *s = sin + (first + r) * half;
      for (int64_t i = 0; i < half; ++i) {
        float a = x[i], b = x[i + half], turn = back ? -s[i] : s[i];
        out[i] = a * c[i] - b * turn;
        out[i + half] = b * c[i] + a * turn;
      }
    }
  }
};

struct Masks {
  const int32_t *low, *high;                     // [B, T]
  const int32_t *query_segments, *key_segments;  // [B, T], [B, S], or null.
};

// The keys that one block of queries may see, and which of them each query sees.
class Sight {
 public:
  Sight(const Shape& shape, const Masks& masks, int64_t b, int64_t first)
      : num_keys_(shape.keys), key_segments_(masks.key_segments) {
    if (key_segments_) key_segments_ += b * shape.keys;
    begin = shape.keys, end = 0;
    for (int64_t r = 0; r < kBlock; ++r) {
      bool exists = first + r < shape.queries;
      int64_t at = b * shape.queries + first + r;
      low_[r] = exists ? std::max(0, masks.low[at]) : 0;
      high_[r] = exists ? std::min<int64_t>(masks.high[at], shape.keys) : 0;
      segments_[r] = exists && key_segments_ ? masks.query_segments[at] : 0;
      if (low_[r] < high_[r]) begin = std::min<int64_t>(begin, low_[r]);
      end = std::max<int64_t>(end, high_[r]);
    }
    begin = begin / kBlock * kBlock;
  }

  // Keys of the block at `key`, from its first, that a panel of rows may see.
  int64_t reach(int64_t panel, int64_t key) const {
    int64_t high = 0;
    for (int64_t r = panel * kPanel; r < (panel + 1) * kPanel; ++r)
      high = std::max<int64_t>(high, high_[r]);
    return std::max<int64_t>(0, std::min(kBlock, round_up(high - key, kPanel)));
  }

  // Scales `count` scores of row r against the keys from `key` on, and hides the
  // unseen.
  void apply(int64_t r, int64_t key, int64_t count, float scale, float* scores) const {
    const int32_t from = low_[r], to = high_[r];
    bool whole = from <= key && key + count <= to && !key_segments_;
    for (int64_t c = 0; c < count; c += kLanes) {
      vec x = *(vec*)(scores + c) * scale;
      if (!whole) {
        ivec index = kCount + int32_t(key + c);
        ivec seen = (index >= from) & (index < to);
        if (key_segments_) seen &= same_segment(r, key + c);
        x = (vec)(((ivec)x & seen) | ((ivec)spread(kHidden) & ~seen));
      }
      *(vec*)(scores + c) = x;
    }
  }

  int64_t begin, end;

 private:
  ivec same_segment(int64_t r, int64_t key) const {
    ivec own = {};
    const int64_t count = std::min<int64_t>(kLanes, num_keys_ - key);
    if (segments_[r] <= 0 || count <= 0) return own;
    if (count == kLanes) {
      std::memcpy(&own, key_segments_ + key, sizeof(own));
    } else {
      std::memcpy(&own, key_segments_ + key, count * sizeof(int32_t));
    }
    return own == segments_[r];  // Zeros behind the keys belong to no segment.
  }

  static constexpr ivec kCount = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  int64_t num_keys_;
  const int32_t* key_segments_;
  int32_t low_[kBlock], high_[kBlock], segments_[kBlock];
};

// The panels of all columns of one head's operand, zeros behind its contraction.
template <typename Engine>
struct Columns {
  using Number = typename Engine::Number;
  Columns(View b, int64_t columns, int64_t depth, int64_t padded_depth)
      : size(Engine::panel_numbers(padded_depth)), data(num_panels(columns) * size) {
    std::memset(data, 0, num_panels(columns) * size * sizeof(Number));
    for (int64_t i = 0; i * kPanel < columns; ++i)
      Engine::pack_columns(b, i * kPanel, columns, 0, depth, data + i * size);
  }
  const Number* panel(int64_t i, int64_t depth = 0) {
    return data + i * size + depth * kPanel;
  }
  int64_t size;
  Buffer<Number> data;
};

// Rows of one head as the products see them: turned, if there is something to turn by.
class Turned {
 public:
  Turned(const Rotary& rotary, const float* x, int64_t stride, int64_t first,
         int64_t rows, int64_t width)
      : scratch_(rotary.cos ? rows * width : 0), view{x, stride} {
    if (!rotary.cos) return;
    rotary.turn(x, stride, first, rows, width, false, scratch_, width);
    view = {scratch_, width};
  }

 private:
  Buffer<float> scratch_;

 public:
  View view;
  View transposed() const { return {view.data, view.stride, true}; }
};

template <typename Engine>
struct Rows {
  using Number = typename Engine::Number;
  Rows(int64_t rows, int64_t depth)
      : size(Engine::panel_numbers(depth)), data(rows / kPanel * size) {}
  void pack(View a, int64_t num_rows, int64_t num_panels, int64_t steps) {
    for (int64_t i = 0; i < num_panels; ++i) pack_one(a, num_rows, i, steps);
  }
  void pack_one(View a, int64_t num_rows, int64_t i, int64_t steps) {
    transposed = a.transposed;
    Engine::pack_rows(a, i * kPanel, num_rows, 0, steps, data + i * size);
  }
  const Number* panel(int64_t i) { return data + i * size; }
  int64_t size;
  bool transposed = false;
  Buffer<Number> data;
};

// Panel i of C (+)= panel i of A times all panels of B that get_columns gives.
template <typename Engine, typename GetColumns>
void multiply_row(Rows<Engine>& a, int64_t i, int64_t skip, GetColumns get_columns,
                  int64_t num_columns, int64_t depth, float* c, int64_t stride,
                  bool add) {
  for (int64_t j = 0; j < num_columns; ++j)
    Engine::multiply(a.panel(i) + skip * kPanel, get_columns(j) + skip * kPanel,
                     depth - skip, c + i * kPanel * stride + j * kPanel, stride, add,
                     a.transposed);
}

template <typename Engine>
void forward_head(const Shape& s, const Masks& masks, const Rotary& rotary, int64_t b,
                  int64_t n, float scale, const float* query, const float* key,
                  const float* value, float* out, float* lse) {
  typename Engine::Session session;
  const int64_t width = s.width, wide = s.padded_width(), panels = wide / kPanel;
  const int64_t row = s.heads * width, key_row = s.groups * width;
  const int64_t k = n / s.members();
  key += b * s.keys * key_row + k * width;
  value += b * s.keys * key_row + k * width;
  query += b * s.queries * row + n * width;
  out += b * s.queries * row + n * width;
  lse += (b * s.heads + n) * s.queries;
  const int64_t keys = s.padded_keys();
  const Turned turned(rotary, key, key_row, b * s.keys, s.keys, width);
  Columns<Engine> keys_t(turned.transposed(), s.keys, width, width);
  Columns<Engine> values({value, key_row, false}, width, s.keys, keys);
  Rows<Engine> queries(kBlock, width), weights(kBlock, kBlock);
  Buffer<float> scores(kBlock * kBlock), mixed(kBlock * wide);
  float top[kBlock], total[kBlock];
  for (int64_t first = 0; first < s.queries; first += kBlock) {
    const int64_t count = std::min(kBlock, s.queries - first);
    const int64_t row_panels = num_panels(count);
    const Turned turned(rotary, query + first * row, row, b * s.queries + first, count,
                        width);
    queries.pack(turned.view, count, row_panels, width);
    Sight sight(s, masks, b, first);
    std::fill(top, top + kBlock, kHidden);
    std::fill(total, total + kBlock, 0.0f);
    std::fill(mixed + 0, mixed + kBlock * wide, 0.0f);
    for (int64_t at = sight.begin; at < sight.end; at += kBlock) {
      auto key_panel = [&](int64_t j) { return keys_t.panel(at / kPanel + j); };
      auto value_panel = [&](int64_t j) { return values.panel(j, at); };
      for (int64_t i = 0; i < row_panels; ++i) {
        const int64_t here = sight.reach(i, at);
        if (here == 0) continue;
        multiply_row(queries, i, 0, key_panel, here / kPanel, width, scores, kBlock,
                     false);
        for (int64_t r = i * kPanel; r < (i + 1) * kPanel; ++r) {
          float* x = scores + r * kBlock;
          sight.apply(r, at, here, scale, x);
          float fade = soften(x, here, top[r], total[r]);
          if (fade != 1.0f)
            for (int64_t c = 0; c < wide; c += kLanes)
              *(vec*)(mixed + r * wide + c) *= fade;
        }
        weights.pack_one({scores, kBlock}, kBlock, i, here);
        multiply_row(weights, i, 0, value_panel, panels, here, mixed, wide, true);
      }
    }
    for (int64_t r = 0; r < count; ++r) {
      bool seen = total[r] > 0;
      float inverse = seen ? 1.0f / total[r] : 0.0f;
      for (int64_t c = 0; c < width; ++c)
        out[(first + r) * row + c] = mixed[r * wide + c] * inverse;
      lse[first + r] = seen ? top[r] + std::log(total[r]) : -kHidden;
    }
  }
}

// out . slope, the slope rounded as the products take it, so that rounding cancels.
template <typename Engine>
float multiply_kept(const float* out, const float* slope, int64_t width) {
  vec sums = {};
  float rest = 0.0f;
  int64_t c = 0;
  for (; c + kLanes <= width; c += kLanes)
    sums += load(out + c) * Engine::keep(load(slope + c));
  for (; c < width; ++c) rest += out[c] * Engine::keep(slope[c]);
  return sum_of(sums) + rest;
}

template <typename Engine>
void backward_group(const Shape& s, const Masks& masks, const Rotary& rotary, int64_t b,
                    int64_t k, float scale, const float* query, const float* key,
                    const float* value, const float* out, const float* lse,
                    const float* slope, float* dquery, float* dkey, float* dvalue) {
  typename Engine::Session session;
  const int64_t width = s.width, wide = s.padded_width(), panels = wide / kPanel;
  const int64_t row = s.heads * width, key_row = s.groups * width;
  const int64_t offset = b * s.keys * key_row + k * width;
  key += offset, value += offset, dkey += offset, dvalue += offset;
  Rows<Engine> queries(kBlock, width), slopes(kBlock, width), left(kBlock, kBlock);
  Buffer<float> weights(kBlock * kBlock), dscores(kBlock * kBlock);
  Buffer<float> sum_query(kBlock * wide), sum_key(kChunk * wide);
  Buffer<float> sum_value(kChunk * wide);
  float delta[kBlock], level[kBlock];
  for (int64_t chunk = 0; chunk < s.keys; chunk += kChunk) {
    const int64_t num_keys = std::min(kChunk, s.keys - chunk);
    const int64_t keys = round_up(num_keys, kBlock);
    const float *chunk_keys = key + chunk * key_row,
                *chunk_values = value + chunk * key_row;
    const Turned turned(rotary, chunk_keys, key_row, b * s.keys + chunk, num_keys,
                        width);
    Columns<Engine> keys_t(turned.transposed(), num_keys, width, width);
    Columns<Engine> values_t({chunk_values, key_row, true}, num_keys, width, width);
    Columns<Engine> keys_n(turned.view, width, num_keys, keys);
    std::fill(sum_key + 0, sum_key + keys * wide, 0.0f);
    std::fill(sum_value + 0, sum_value + keys * wide, 0.0f);
    for (int64_t n = k * s.members(); n < (k + 1) * s.members(); ++n)
      for (int64_t first = 0; first < s.queries; first += kBlock) {
        const int64_t begin = (b * s.queries + first) * row + n * width;
        const int64_t count = std::min(kBlock, s.queries - first);
        const int64_t row_panels = num_panels(count);
        Sight sight(s, masks, b, first);
        if (chunk > 0 && (sight.end <= chunk || sight.begin >= chunk + kChunk))
          continue;
        const int64_t rows = row_panels * kPanel;
        const Turned turned(rotary, query + begin, row, b * s.queries + first, count,
                            width);
        queries.pack(turned.view, count, row_panels, width);
        slopes.pack({slope + begin, row}, count, row_panels, width);
        Columns<Engine> query_columns(turned.view, width, count, rows);
        Columns<Engine> slope_columns({slope + begin, row, false}, width, count, rows);
        for (int64_t r = 0; r < rows; ++r) {
          delta[r] = 0, level[r] = -kHidden;
          if (r >= count) continue;
          const int64_t at = begin + r * row;
          delta[r] = multiply_kept<Engine>(out + at, slope + at, width);
          level[r] = lse[(b * s.heads + n) * s.queries + first + r];
        }
        std::fill(sum_query + 0, sum_query + kBlock * wide, 0.0f);
        int64_t until = std::min(sight.end, chunk + kChunk);
        for (int64_t at = std::max(sight.begin, chunk); at < until; at += kBlock) {
          const int64_t near = at - chunk;
          auto key_panel = [&](int64_t j) { return keys_t.panel(near / kPanel + j); };
          auto value_panel = [&](int64_t j) {
            return values_t.panel(near / kPanel + j);
          };
          auto plain_panel = [&](int64_t j) { return keys_n.panel(j, near); };
          int64_t furthest = 0,
                  starts[kBlock / kPanel];  // First row that sees each panel.
          for (int64_t i = 0; i < row_panels; ++i)
            furthest = std::max(furthest, sight.reach(i, at));
          for (int64_t i = row_panels - 1; i >= 0; --i) {
            const int64_t here = sight.reach(i, at), begin = i * kPanel;
            for (int64_t r = begin; r < begin + kPanel; ++r)  // Read transposed below.
              for (int64_t c = here; c < furthest; ++c)
                weights[r * kBlock + c] = dscores[r * kBlock + c] = 0;
            if (here == 0) continue;
            std::fill(starts, starts + here / kPanel, begin);
            multiply_row(queries, i, 0, key_panel, here / kPanel, width, weights,
                         kBlock, false);
            multiply_row(slopes, i, 0, value_panel, here / kPanel, width, dscores,
                         kBlock, false);
            for (int64_t r = begin; r < begin + kPanel; ++r) {
              float *x = weights + r * kBlock, *dx = dscores + r * kBlock;
              sight.apply(r, at, here, scale, x);
              for (int64_t c = 0; c < here; c += kLanes) {
                vec y = exp_of(*(vec*)(x + c) - level[r]);
                *(vec*)(x + c) = y;
                *(vec*)(dx + c) = y * (*(vec*)(dx + c) - delta[r]) * scale;
              }
            }
            left.pack_one({dscores, kBlock}, kBlock, i, here);
            multiply_row(left, i, 0, plain_panel, panels, here, sum_query, wide, true);
          }
          // Keys are the rows of these two: the blocks are read transposed.
          auto slope_panel = [&](int64_t j) { return slope_columns.panel(j); };
          auto query_panel = [&](int64_t j) { return query_columns.panel(j); };
          left.pack({weights, kBlock, true}, kBlock, furthest / kPanel, rows);
          for (int64_t i = 0; i < furthest / kPanel; ++i)
            multiply_row(left, i, starts[i], slope_panel, panels, rows,
                         sum_value + near * wide, wide, true);
          left.pack({dscores, kBlock, true}, kBlock, furthest / kPanel, rows);
          for (int64_t i = 0; i < furthest / kPanel; ++i)
            multiply_row(left, i, starts[i], query_panel, panels, rows,
                         sum_key + near * wide, wide, true);
        }
        if (rotary.cos)
          rotary.turn(sum_query, wide, b * s.queries + first, count, width, true,
                      sum_query, wide);
        for (int64_t r = 0; r < count; ++r)
          for (int64_t c = 0; c < width; ++c)
            dquery[begin + r * row + c] =
                sum_query[r * wide + c] + (chunk > 0 ? dquery[begin + r * row + c] : 0);
      }
    if (rotary.cos)
      rotary.turn(sum_key, wide, b * s.keys + chunk, num_keys, width, true, sum_key,
                  wide);
    for (int64_t r = 0; r < num_keys; ++r)
      for (int64_t c = 0; c < width; ++c) {
        dkey[(chunk + r) * key_row + c] = sum_key[r * wide + c];
        dvalue[(chunk + r) * key_row + c] = sum_value[r * wide + c];
      }
  }
}

using Floats = ffi::Buffer<ffi::F32>;
using Ints = ffi::Buffer<ffi::S32>;

Shape shape_of(const Floats& query, const Floats& key) {
  auto q = query.dimensions(), k = key.dimensions();
  return {q[0], q[1], q[2], k[1], k[2], q[3]};
}

Masks masks_of(const Ints& low, const Ints& high, const Ints& query_segments,
               const Ints& key_segments, bool segmented) {
  return {low.typed_data(), high.typed_data(),
          segmented ? query_segments.typed_data() : nullptr,
          segmented ? key_segments.typed_data() : nullptr};
}

Rotary rotary_of(const Floats& cos, const Floats& sin, bool rotary) {
  if (!rotary) return {nullptr, nullptr};
  return {cos.typed_data(), sin.typed_data()};
}

ffi::Error forward(ffi::ThreadPool pool, Floats query, Floats key, Floats value,
                   Ints low, Ints high, Ints query_segments, Ints key_segments,
                   Floats cos, Floats sin, ffi::Result<Floats> out,
                   ffi::Result<Floats> lse, bool round, bool segmented, bool rotary,
                   float scale) {
  const Shape shape = shape_of(query, key);
  const Masks masks = masks_of(low, high, query_segments, key_segments, segmented);
  const Rotary angles = rotary_of(cos, sin, rotary);
  run_tasks(pool, shape.batch * shape.heads, [&](int64_t task) {
    auto head = round ? forward_head<BFloat16> : forward_head<Float32>;
    head(shape, masks, angles, task / shape.heads, task % shape.heads, scale,
         query.typed_data(), key.typed_data(), value.typed_data(), out->typed_data(),
         lse->typed_data());
  });
  return ffi::Error::Success();
}

ffi::Error backward(ffi::ThreadPool pool, Floats query, Floats key, Floats value,
                    Ints low, Ints high, Ints query_segments, Ints key_segments,
                    Floats cos, Floats sin, Floats out, Floats lse, Floats slope,
                    ffi::Result<Floats> dquery, ffi::Result<Floats> dkey,
                    ffi::Result<Floats> dvalue, bool round, bool segmented, bool rotary,
                    float scale) {
  const Shape shape = shape_of(query, key);
  const Masks masks = masks_of(low, high, query_segments, key_segments, segmented);
  const Rotary angles = rotary_of(cos, sin, rotary);
  run_tasks(pool, shape.batch * shape.groups, [&](int64_t task) {
    auto group = round ? backward_group<BFloat16> : backward_group<Float32>;
    group(shape, masks, angles, task / shape.groups, task % shape.groups, scale,
          query.typed_data(), key.typed_data(), value.typed_data(), out.typed_data(),
          lse.typed_data(), slope.typed_data(), dquery->typed_data(),
          dkey->typed_data(), dvalue->typed_data());
  });
  return ffi::Error::Success();
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(slimjax_attention_forward, forward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Ints>()
                                  .Arg<Ints>()
                                  .Arg<Ints>()
                                  .Arg<Ints>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Ret<Floats>()
                                  .Ret<Floats>()
                                  .Attr<bool>("round")
                                  .Attr<bool>("segmented")
                                  .Attr<bool>("rotary")
                                  .Attr<float>("scale"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(slimjax_attention_backward, backward,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Ints>()
                                  .Arg<Ints>()
                                  .Arg<Ints>()
                                  .Arg<Ints>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Ret<Floats>()
                                  .Ret<Floats>()
                                  .Ret<Floats>()
                                  .Attr<bool>("round")
                                  .Attr<bool>("segmented")
                                  .Attr<bool>("rotary")
                                  .Attr<float>("scale"));

}  // namespace slimjax
