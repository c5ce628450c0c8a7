// The kernels as operations of OpenVINO.
#include "operations.h"

#include <memory>
#include <mutex>
#include <utility>

#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <openvino/core/extension.hpp>
#include <openvino/core/op_extension.hpp>
#include <openvino/op/op.hpp>

namespace lc2fer {

// The threads of the stream that runs the operation.
void run_in_arena(void*, void (*part)(void*, int), void* argument, int count) {
    tbb::parallel_for(0, count, [&](int number) { part(argument, number); }, tbb::static_partitioner());
}

template <class Kind>
class Operation : public ov::op::Op {
public:
    OPENVINO_OP(Kind::NAME, "lc2fer");

    Operation() = default;
    Operation(const ov::OutputVector& arguments, Attributes its) : Op(arguments), m_its(std::move(its)) {
        constructor_validate_and_infer_types();
    }

    void validate_and_infer_types() override {
        constexpr size_t count = Kind::BYTES.size();
        NODE_VALIDATION_CHECK(this, get_input_size() == count + 1, count, " constants were expected");
        ov::PartialShape images = get_input_partial_shape(0);
        NODE_VALIDATION_CHECK(this, images.rank().is_static() && images.size() == 4, "four axes were expected");
        const ov::Dimension batch = images[0];
        images[0] = 1;
        NODE_VALIDATION_CHECK(this, images.is_static(), "images of a fixed shape were expected");
        std::vector<Shape> shapes;
        for (size_t i = 0; i < count; ++i) {
            const auto type = Kind::BYTES[i] ? ov::element::u8 : ov::element::f32;
            NODE_VALIDATION_CHECK(this, get_input_element_type(i + 1) == type, "input ", i + 1, " has to be ", type);
            shapes.push_back(get_input_shape(i + 1));
        }
        try {
            ov::PartialShape made(ov::Shape(checked<Kind>(m_its, images.to_shape(), shapes)));
            made[0] = batch;
            set_output_type(0, ov::element::f32, made);
        } catch (const std::invalid_argument& error) {
            NODE_VALIDATION_CHECK(this, false, error.what());
        }
    }

    std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& arguments) const override {
        return std::make_shared<Operation>(arguments, m_its);
    }

    bool visit_attributes(ov::AttributeVisitor& visitor) override {
        visitor.on_attribute("version", m_its.version);
        Kind::visit(m_its, [&](const char* name, auto& value) { visitor.on_attribute(name, value); });
        return true;
    }

    bool has_evaluate() const override { return get_input_element_type(0) == ov::element::f32; }

    bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override {
        Constants constants;
        for (size_t i = 0; i < constants.size(); ++i) constants[i] = inputs[i + 1].data();
        const Shape& images = inputs[0].get_shape();
        const auto ready = prepared(images, constants);
        const size_t made = floats_of_one(Kind::output(m_its, images));
        const bool apart = images[0] >= size_t(tbb::this_task_arena::max_concurrency());
        run_images(ready->kind, Pool{nullptr, run_in_arena}, apart && images[0] > 1, images[0],
                   inputs[0].data<const float>(), floats_of_one(images), outputs[0].data<float>(), made);
        return true;
    }

private:
    using Constants = std::array<const void*, Kind::BYTES.size()>;

    struct Ready {
        Constants constants;
        Kind kind;
    };

    // Made at the first image: OpenVINO gives an operation its constants no earlier.
    std::shared_ptr<const Ready> prepared(const Shape& image, const Constants& constants) const {
        const std::lock_guard<std::mutex> lock(m_mutex);
        if (m_ready == nullptr || m_ready->constants != constants) {
            const auto ready = std::make_shared<Ready>();
            ready->constants = constants;
            ready->kind.prepare(m_its, image, constants);
            m_ready = ready;
        }
        return m_ready;
    }

    Attributes m_its;
    mutable std::mutex m_mutex;
    mutable std::shared_ptr<const Ready> m_ready;
};

}  // namespace lc2fer

OPENVINO_CREATE_EXTENSIONS(std::vector<ov::Extension::Ptr>({
    std::make_shared<ov::OpExtension<lc2fer::Operation<lc2fer::Stem>>>(),
    std::make_shared<ov::OpExtension<lc2fer::Operation<lc2fer::Block>>>(),
    std::make_shared<ov::OpExtension<lc2fer::Operation<lc2fer::Downsample>>>(),
}));
