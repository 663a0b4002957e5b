// FieldBlock: slots of offsets, so that the text may grow while fields arrive.
#include "userspace-proxy/http/field_block.h"

namespace weft::proxy {

void FieldBlock::clear() {
  text_.clear();
  slots_.clear();
  seen_ = 0;
  too_large_ = false;
}

FieldBlock::Added FieldBlock::add(std::string_view name, std::string_view value, size_t max_bytes,
                                  size_t max_fields) {
  seen_ += name.size() + value.size() + kFieldOverhead;
  if (seen_ > max_bytes * kFloodFactor) return Added::kFlood;
  if (too_large_ || seen_ > max_bytes || slots_.size() >= max_fields) {
    too_large_ = true;
    return Added::kTooLarge;
  }
  if (slots_.empty()) {
    text_.reserve(kFirstText);
    slots_.reserve(kFirstSlots);
  }
  slots_.push_back(Slot{static_cast<uint32_t>(text_.size()), static_cast<uint32_t>(name.size()),
                        static_cast<uint32_t>(value.size())});
  text_.append(name).append(value);
  return Added::kKept;
}

FieldBlock::Field FieldBlock::operator[](size_t index) const {
  const Slot& slot = slots_[index];
  const std::string_view text = text_;
  return Field{text.substr(slot.at, slot.name_size), text.substr(slot.at + slot.name_size, slot.value_size)};
}

std::string_view FieldBlock::find(std::string_view name) const {
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Field field = (*this)[i];
    if (field.name == name) return field.value;
  }
  return {};
}

std::string_view FieldBlock::append(std::string_view piece) {
  const size_t at = text_.size();
  text_.append(piece);
  return std::string_view(text_).substr(at);
}

}  // namespace weft::proxy
