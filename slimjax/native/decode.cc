// What a step of decoding is made of: products with packed weights, and the two
// sublayers of a decoder for one token a row, each from residual stream to residual
// stream, so that nothing but products waits for memory.
#include <cmath>

#include "rows.h"

namespace slimjax {

// y = x / sqrt(mean(x^2) + epsilon) * scale
void normalise(const float* x, const float* scale, int64_t width, float epsilon,
               float* y) {
  vec squares = {};
  float rest = 0.0f;
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) squares += *(vec*)(x + i) * *(vec*)(x + i);
  for (; i < width; ++i) rest += x[i] * x[i];
  const float factor = 1.0f / std::sqrt((sum_of(squares) + rest) / width + epsilon);
  for (i = 0; i < width; ++i) y[i] = x[i] * factor * scale[i];
}

template <typename Kind>
void pack_normalised(Crew& crew, Rows<Kind>& rows, const float* x, const float* norm,
                     int64_t width, float epsilon) {
  crew.run(rows.count, [&](int64_t r) {
    Buffer<float> y(width);
    normalise(x + r * width, norm, width, epsilon, y);
    rows.pack(r, y, width);
  });
}

// out (+)= rows x weights, with `columns` columns.
template <typename Kind>
void product_into(Crew& crew, Rows<Kind>& rows, const Weights& weights,
                  const float* added, int64_t columns, float* out) {
  product(crew, rows, weights, [&](int64_t r, int64_t panel, const float* numbers) {
    const int64_t first = panel * kColumns, at = r * columns + first;
    const int64_t count = std::min<int64_t>(kColumns, columns - first);
    for (int64_t c = 0; c < count; ++c)
      out[at + c] = added ? added[at + c] + numbers[c] : numbers[c];
  });
}

// ------------------------------------------------------------------------------- MLP
// x + down(silu(gate(norm x)) * up(norm x)); a panel of `reading` is 16 columns of gate
// and the same 16 of up.
template <typename Kind>
void mlp(Crew& crew, int64_t num_rows, int64_t width, float epsilon, const float* x,
         const float* norm, const Weights& reading, const Weights& writing,
         float* out) {
  Rows<Kind> inputs(num_rows, reading.groups), hiddens(num_rows, writing.groups);
  const int64_t hidden = reading.panels * kLanes;
  Buffer<float> units(num_rows * hidden);
  pack_normalised(crew, inputs, x, norm, width, epsilon);
  product(crew, inputs, reading, [&](int64_t r, int64_t panel, const float* numbers) {
    const vec gate = *(vec*)numbers, up = *(vec*)(numbers + kLanes);
    *(vec*)(units + r * hidden + panel * kLanes) = gate * sigmoid_of(gate) * up;
  });
  crew.run(num_rows, [&](int64_t r) { hiddens.pack(r, units + r * hidden, hidden); });
  product_into(crew, hiddens, writing, x, width, out);
}

// ------------------------------------------------------------------------- Attention
struct Heads {
  int64_t batch, length, query, kv, dim;  // B, S, N, K, H
};

inline float load_one(float x) { return x; }
inline float load_one(bf16 x) { return widen(x); }
inline void keep(float x, float* to) { *to = x; }
inline void keep(float x, bf16* to) { *to = narrow(x); }

// The sums of four vectors.
inline quarter_vec sums_of(const vec* x) {
  quarter_vec parts[4];
  for (int i = 0; i < 4; ++i) {
    const half_vec half = *(half_vec*)&x[i] + *((half_vec*)&x[i] + 1);
    parts[i] = *(quarter_vec*)&half + *((quarter_vec*)&half + 1);
  }
#if defined(__SSE3__)
  return _mm_hadd_ps(_mm_hadd_ps(parts[0], parts[1]), _mm_hadd_ps(parts[2], parts[3]));
#else
  quarter_vec out;
  for (int i = 0; i < 4; ++i)
    out[i] = (parts[i][0] + parts[i][1]) + (parts[i][2] + parts[i][3]);
  return out;
#endif
}

// scores [count] = query . key, four keys at a time; those of a cache lie far apart, so
// the next are asked for early.
template <typename T>
void score(const float* query, const T* keys, int64_t count, int64_t stride,
           int64_t dim, float* scores) {
  for (int64_t s = 0; s < count; s += 4) {
    const T* key[4];
    vec sums[4] = {};
    for (int j = 0; j < 4; ++j) {
      key[j] = keys + std::min(s + j, count - 1) * stride;
      for (int64_t i = 0; i < dim; i += 64 / sizeof(T))
        __builtin_prefetch(key[j] + 8 * stride + i);
    }
    int64_t i = 0;
    for (; i + kLanes <= dim; i += kLanes)
      for (int j = 0; j < 4; ++j) sums[j] += *(vec*)(query + i) * load(key[j] + i);
    quarter_vec total = sums_of(sums);
    for (; i < dim; ++i)
      for (int j = 0; j < 4; ++j) total[j] += query[i] * load_one(key[j][i]);
    *(quarter_vec*)(scores + s) = total;
  }
}

// out [dim] = sum over s of weights[s] * values[s]
template <typename T>
void mix(const float* weights, const T* values, int64_t count, int64_t stride,
         int64_t dim, float* out) {
  int64_t c = 0;
  for (; c + 4 * kLanes <= dim; c += 4 * kLanes) {
    vec sums[4] = {};
    for (int64_t s = 0; s < count; ++s) {
      __builtin_prefetch(values + (s + 8) * stride + c);
      __builtin_prefetch(values + (s + 8) * stride + c + 2 * kLanes);
      for (int i = 0; i < 4; ++i)
        sums[i] += spread(weights[s]) * load(values + s * stride + c + i * kLanes);
    }
    for (int i = 0; i < 4; ++i) *(vec*)(out + c + i * kLanes) = sums[i];
  }
  for (; c + kLanes <= dim; c += kLanes) {
    vec sum = {};
    for (int64_t s = 0; s < count; ++s)
      sum += spread(weights[s]) * load(values + s * stride + c);
    *(vec*)(out + c) = sum;
  }
  for (; c < dim; ++c) {
    out[c] = 0.0f;
    for (int64_t s = 0; s < count; ++s)
      out[c] += weights[s] * load_one(values[s * stride + c]);
  }
}

// Turns the pairs (i, i + H/2) of a head.
inline void turn(float* x, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float first = x[i], second = x[i + half];
    x[i] = first * cos[i] - second * sin[i];
    x[i + half] = second * cos[i] + first * sin[i];
  }
}

// The query heads of one KV head of one row: keeps its key and value in the cache, and
// mixes what stands there up to `position`. `q`, `k` and `v` are those of the KV head.
template <typename T>
void attend(const Heads& h, int64_t position, const float* cos, const float* sin,
            float* q, float* k, const float* v, T* keys, T* values, float* out) {
  const int64_t stride = h.kv * h.dim, count = position + 1;
  const int64_t group = h.query / h.kv, here = position * stride;
  turn(k, cos, sin, h.dim / 2);
  for (int64_t i = 0; i < h.dim; ++i) {
    keep(k[i], keys + here + i);
    keep(v[i], values + here + i);
  }
  const int64_t padded = round_up(count, kLanes);
  Buffer<float> scores(padded);
  for (int64_t g = 0; g < group; ++g, q += h.dim, out += h.dim) {
    turn(q, cos, sin, h.dim / 2);
    for (int64_t i = 0; i < h.dim; ++i) q[i] /= std::sqrt(float(h.dim));
    score(q, keys, count, stride, h.dim, scores);
    for (int64_t s = count; s < padded; ++s) scores[s] = kHidden;
    float top = kHidden, total = 0.0f;
    soften(scores, padded, top, total);
    for (int64_t s = 0; s < count; ++s) scores[s] /= total;
    mix(scores, values, count, stride, h.dim, out);
  }
}

// x + out(attention(norm x)), the cache being written in place.
template <typename Kind, typename T>
void attention(Crew& crew, const Heads& h, int64_t width, float epsilon, const float* x,
               const float* norm, const Weights& reading, const Weights& writing,
               const float* cos, const float* sin, const int32_t* positions, T* keys,
               T* values, float* out) {
  const int64_t queries = h.query * h.dim, columns = reading.panels * kColumns;
  Rows<Kind> inputs(h.batch, reading.groups), mixed(h.batch, writing.groups);
  Buffer<float> heads(h.batch * columns), mixes(h.batch * queries);
  pack_normalised(crew, inputs, x, norm, width, epsilon);
  product_into(crew, inputs, reading, nullptr, columns, heads);
  crew.run(h.batch * h.kv, [&](int64_t task) {
    const int64_t row = task / h.kv, head = task % h.kv, half = h.dim / 2;
    const int64_t group = h.query / h.kv * head * h.dim;
    const int64_t in_cache = row * h.length * h.kv * h.dim + head * h.dim;
    float* q = heads + row * columns;
    float *k = q + queries + head * h.dim, *v = k + h.kv * h.dim;
    attend(h, positions[row], cos + row * half, sin + row * half, q + group, k, v,
           keys + in_cache, values + in_cache, mixes + row * queries + group);
  });
  crew.run(h.batch, [&](int64_t r) { mixed.pack(r, mixes + r * queries, queries); });
  product_into(crew, mixed, writing, x, width, out);
}

// ------------------------------------------------------------------------------ Doors
using Floats = ffi::Buffer<ffi::F32>;
using Numbers = ffi::Buffer<ffi::S32>;

Weights weights_of(const ffi::AnyBuffer& panels, const Floats& scale) {
  return {(const int32_t*)panels.untyped_data(), scale.typed_data(),
          panels.dimensions()[0], panels.dimensions()[1]};
}

// Calls run(Kind()) with the kind of the weights.
template <typename Run>
ffi::Error with_kind(const ffi::AnyBuffer& panels, const Run& run) {
  switch (panels.element_type()) {
    case ffi::F32:
      return run(Float1());
    case ffi::BF16:
      return run(BFloat2());
    case ffi::U8:
      return run(Int4());
    default:
      return ffi::Error::InvalidArgument("no kernel for weights of this type");
  }
}

// (x, weights) -> x weights
ffi::Error rows_product(ffi::ThreadPool pool, Floats x, ffi::AnyBuffer panels,
                        Floats scale, ffi::Result<Floats> out) {
  return with_kind(panels, [&](auto kind) {
    Crew crew(pool);
    const Weights weights = weights_of(panels, scale);
    const int64_t width = x.dimensions()[1];
    Rows<decltype(kind)> rows(x.dimensions()[0], weights.groups);
    crew.run(rows.count,
             [&](int64_t r) { rows.pack(r, x.typed_data() + r * width, width); });
    product_into(crew, rows, weights, nullptr, out->dimensions()[1], out->typed_data());
    return ffi::Error::Success();
  });
}

// (x, norm, weights of gate and up, of down) -> the next x
ffi::Error mlp_step(ffi::ThreadPool pool, Floats x, Floats norm, ffi::AnyBuffer reading,
                    Floats reading_scale, ffi::AnyBuffer writing, Floats writing_scale,
                    ffi::Result<Floats> out, float epsilon) {
  return with_kind(reading, [&](auto kind) {
    Crew crew(pool);
    mlp<decltype(kind)>(crew, x.dimensions()[0], x.dimensions()[1], epsilon,
                        x.typed_data(), norm.typed_data(),
                        weights_of(reading, reading_scale),
                        weights_of(writing, writing_scale), out->typed_data());
    return ffi::Error::Success();
  });
}

// (x, norm, weights of query, key and value, of out, cosines and sines of the angles,
// positions, keys, values) -> (the next x, keys, values), the cache in its own place
ffi::Error attention_step(ffi::ThreadPool pool, Floats x, Floats norm,
                          ffi::AnyBuffer reading, Floats reading_scale,
                          ffi::AnyBuffer writing, Floats writing_scale, Floats cos,
                          Floats sin, Numbers positions, ffi::AnyBuffer,
                          ffi::AnyBuffer, ffi::Result<Floats> out,
                          ffi::Result<ffi::AnyBuffer> keys,
                          ffi::Result<ffi::AnyBuffer> values, int64_t num_heads,
                          float epsilon) {
  const auto shape = keys->dimensions();
  const Heads heads{shape[0], shape[1], num_heads, shape[2], shape[3]};
  for (int64_t b = 0; b < heads.batch; ++b)
    if (positions.typed_data()[b] < 0 || positions.typed_data()[b] >= heads.length)
      return ffi::Error::InvalidArgument("a position is outside of the cache");
  return with_kind(reading, [&](auto kind) {
    Crew crew(pool);
    auto run = [&](auto* keys, auto* values) {
      attention<decltype(kind)>(
          crew, heads, x.dimensions()[1], epsilon, x.typed_data(), norm.typed_data(),
          weights_of(reading, reading_scale), weights_of(writing, writing_scale),
          cos.typed_data(), sin.typed_data(), positions.typed_data(), keys, values,
          out->typed_data());
      return ffi::Error::Success();
    };
    void *to_keys = keys->untyped_data(), *to_values = values->untyped_data();
    if (keys->element_type() == ffi::F32)
      return run((float*)to_keys, (float*)to_values);
    return run((bf16*)to_keys, (bf16*)to_values);
  });
}

XLA_FFI_DEFINE_HANDLER_SYMBOL(slimjax_rows_product, rows_product,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<Floats>()
                                  .Ret<Floats>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(slimjax_mlp_step, mlp_step,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<Floats>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<Floats>()
                                  .Ret<Floats>()
                                  .Attr<float>("epsilon"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(slimjax_attention_step, attention_step,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<Floats>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Floats>()
                                  .Arg<Numbers>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Arg<ffi::AnyBuffer>()
                                  .Ret<Floats>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Attr<int64_t>("num_heads")
                                  .Attr<float>("epsilon"));

}  // namespace slimjax
