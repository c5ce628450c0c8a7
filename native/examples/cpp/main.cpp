// The library from C++: client MODEL.lc2 prints the answer to a grey picture.
#include <lc2fer.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <vector>

using Model = std::unique_ptr<lc2fer_model, decltype(&lc2fer_close)>;

int main(int count, char** arguments) {
    lc2fer_error error;
    const Model model(lc2fer_open(count > 1 ? arguments[1] : nullptr, nullptr, &error), lc2fer_close);
    if (model == nullptr) {
        std::fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    const lc2fer_info& info = *lc2fer_describe(model.get());
    const std::vector<uint8_t> picture(size_t(info.size) * size_t(info.size) * 3, 128);
    std::vector<float> logits(size_t(info.classes));
    if (lc2fer_run_rgb(model.get(), picture.data(), 3 * info.size, 3, 1, logits.data()) != LC2FER_OK) return 2;
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    std::printf("%s %.5f\n", info.labels[best], logits[size_t(best)]);
}
