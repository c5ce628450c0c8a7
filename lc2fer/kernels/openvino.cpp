// The kernels as operations of OpenVINO.
#include "operations.h"

#include <memory>
#include <utility>

#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <openvino/core/extension.hpp>
#include <openvino/core/op_extension.hpp>
#include <openvino/op/op.hpp>

namespace lc2fer {

struct Arena {
    int threads = std::max(1, tbb::this_task_arena::max_concurrency());

    template <class Function>
    void run(const Function& function) const {
        tbb::parallel_for(0, threads, function, tbb::static_partitioner());
    }
};

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
        NODE_VALIDATION_CHECK(this, get_input_partial_shape(0).is_static(), "an image of a fixed shape was expected");
        std::vector<Shape> shapes;
        for (size_t i = 0; i < count; ++i) {
            const auto type = Kind::BYTES[i] ? ov::element::u8 : ov::element::f32;
            NODE_VALIDATION_CHECK(this, get_input_element_type(i + 1) == type, "input ", i + 1, " has to be ", type);
            shapes.push_back(get_input_shape(i + 1));
        }
        try {
            set_output_type(0, ov::element::f32, ov::Shape(checked<Kind>(m_its, get_input_shape(0), shapes)));
        } catch (const std::invalid_argument& error) {
            NODE_VALIDATION_CHECK(this, false, error.what());
        }
    }

    std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector& arguments) const override {
        return std::make_shared<Operation>(arguments, m_its);
    }

    bool visit_attributes(ov::AttributeVisitor& visitor) override {
        Kind::visit(m_its, [&](const char* name, auto& value) { visitor.on_attribute(name, value); });
        return true;
    }

    bool has_evaluate() const override { return get_input_element_type(0) == ov::element::f32; }

    bool evaluate(ov::TensorVector& outputs, const ov::TensorVector& inputs) const override {
        std::array<const void*, Kind::BYTES.size()> constants;
        for (size_t i = 0; i < constants.size(); ++i) constants[i] = inputs[i + 1].data();
        Kind::run(m_its, inputs[0].get_shape(), constants, Arena{}, inputs[0].data<const float>(),
                  outputs[0].data<float>());
        return true;
    }

private:
    Attributes m_its;
};

}  // namespace lc2fer

OPENVINO_CREATE_EXTENSIONS(std::vector<ov::Extension::Ptr>({
    std::make_shared<ov::OpExtension<lc2fer::Operation<lc2fer::Stem>>>(),
    std::make_shared<ov::OpExtension<lc2fer::Operation<lc2fer::Block>>>(),
    std::make_shared<ov::OpExtension<lc2fer::Operation<lc2fer::Downsample>>>(),
}));
