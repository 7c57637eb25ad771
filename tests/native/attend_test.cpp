// Attention: the rule in double, and the same bits however a text is cut into steps and pages.
#include <algorithm>

#include "judge.h"

using ossia::PageFormat;
using Bytes = std::vector<std::byte>;

namespace {

// Random tokens of one text that looks back at itself.
struct Text {
  std::size_t T, K, G, C, window;
  Floats query, key, value, sink;

  Text(std::size_t T, std::size_t K, std::size_t G, std::size_t C, std::size_t window)
      : T(T),
        K(K),
        G(G),
        C(C),
        window(window),
        query(normal(T * K * G * C)),
        key(normal(T * K * C)),
        value(normal(T * K * C)),
        sink(normal(K * G)) {}

  // Pages of B tokens that suffice: for the whole, or a ring.
  std::size_t pages(std::size_t B) const {
    return window >= T ? (T + B - 1) / B : (window - 1 + B - 1) / B + 1;
  }

  // In steps of so many tokens; every array exactly as long as the kernel is told.
  Floats run(const Kernels& kernels, Pool& pool, PageFormat format, std::size_t step,
             std::size_t B) const {
    const std::size_t P = pages(B), E = K * G * C, X = K * C;
    const ossia::PageLayout layout = ossia::page_layout(format, B, C);
    Bytes bytes(P * K * layout.bytes);
    Floats out(T * E);
    Ints page(P);
    for (std::size_t p = 0; p < P; ++p) page[p] = static_cast<std::int32_t>(P - 1 - p);
    const std::int32_t first = 0;
    for (std::size_t begin = 0; begin < T; begin += step) {
      const auto count = static_cast<std::int32_t>(std::min(step, T - begin));
      const auto past = static_cast<std::int32_t>(begin);
      ossia::Attend job{};
      job.query_TE = &query[begin * E];
      job.key_TX = &key[begin * X];
      job.value_TX = &value[begin * X];
      job.first_Q = &first;
      job.count_Q = &count;
      job.past_Q = &past;
      job.page_QP = page.data();
      job.sink_KG = sink.data();
      job.page_PKY = bytes.data();
      job.page = layout;
      job.attention_TE = &out[begin * E];
      job.Q = 1, job.P = P, job.K = K, job.G = G, job.window = window;
      job.plan = ossia::plan_attend(job, pool.threads());
      Bytes scratch(ossia::attend_scratch(job, pool.threads(), 0).bytes);
      job.scratch = scratch.data();
      pool.run(kernels.attend, job);
    }
    return out;
  }

  std::vector<double> law() const {
    const std::size_t E = K * G * C, X = K * C;
    std::vector<double> mixed(T * E);
    for (std::size_t t = 0; t < T; ++t) {
      for (std::size_t h = 0; h < K * G; ++h) {
        double mass = std::exp(sink[h]);
        double* own = &mixed[t * E + h * C];
        for (std::size_t s = t + 1 > window ? t + 1 - window : 0; s <= t; ++s) {
          double score = 0;
          for (std::size_t c = 0; c < C; ++c) {
            score += query[t * E + h * C + c] * key[s * X + h / G * C + c];
          }
          const double weight = std::exp(score / std::sqrt(static_cast<double>(C)));
          mass += weight;
          for (std::size_t c = 0; c < C; ++c) own[c] += weight * value[s * X + h / G * C + c];
        }
        for (std::size_t c = 0; c < C; ++c) own[c] /= mass;
      }
    }
    return mixed;
  }
};

// What rounding keys and values may cost; measured: half of it.
double bound(PageFormat format) {
  return format == PageFormat::f32 ? 1e-6 : format == PageFormat::bf16 ? 4e-3 : 1.5e-2;
}

constexpr PageFormat kFormats[] = {PageFormat::f32, PageFormat::bf16, PageFormat::int8};

}  // namespace

void test_attend(const Kernels& kernels, Pool& pool) {
  for (const std::size_t window : {1, 20, 1000}) {
    const Text text(100, 2, 5, 18, window);
    const std::vector<double> law = text.law();
    for (const PageFormat format : kFormats) {
      const Floats whole = text.run(kernels, pool, format, text.T, 64);
      expect(kernels.isa, "attention looks back", near(whole, law, bound(format)));
      expect(kernels.isa, "attention token by token is the same",
             same(text.run(kernels, pool, format, 1, 7), whole));
      expect(kernels.isa, "attention in steps is the same",
             same(text.run(kernels, pool, format, 65, 64), whole));
    }
  }
  // spans go to different threads when the last tokens come alone
  const Text text(1100, 1, 3, 7, 5000);
  for (const PageFormat format : kFormats) {
    expect(kernels.isa, "attention over spans is the same",
           same(text.run(kernels, pool, format, 1095, 64),
                text.run(kernels, pool, format, text.T, 128)));
  }
}
