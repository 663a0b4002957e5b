// A container that copies share until one of them is written to: what a snapshot has in common with the one
// before it is there once, and costs a reference. As deeply const as what has it: who may not write reads the
// shared one.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace weft::proxy {

// Read by any thread; written by who alone has it, as containers are.
template <typename Container>
class SharedTable {
 public:
  using value_type = typename Container::value_type;

  SharedTable() : table_(none()) {}
  // No moves: what is left would be without a table.
  SharedTable(const SharedTable&) = default;
  SharedTable& operator=(const SharedTable&) = default;

  const Container& operator*() const { return *table_; }
  bool empty() const { return table_->empty(); }
  size_t size() const { return table_->size(); }
  auto begin() const { return std::as_const(*table_).begin(); }
  auto end() const { return std::as_const(*table_).end(); }
  const auto& front() const { return table_->front(); }
  const auto& back() const { return table_->back(); }
  template <typename Key>
  auto find(const Key& key) const {
    return std::as_const(*table_).find(key);
  }
  template <typename Key>
  bool contains(const Key& key) const {
    return table_->contains(key);
  }
  template <typename Key>
  const auto& at(const Key& key) const {
    return table_->at(key);
  }
  const auto& operator[](size_t index) const { return std::as_const(*table_)[index]; }

  // What these return is valid until the next copy.
  auto begin() { return own().begin(); }
  auto end() { return own().end(); }
  auto& front() { return own().front(); }
  auto& back() { return own().back(); }
  template <typename Key>
  auto find(const Key& key) {
    return own().find(key);
  }
  template <typename Key>
  auto& operator[](Key&& key) {
    return own()[std::forward<Key>(key)];
  }
  void clear() { table_ = none(); }
  void reserve(size_t count) { own().reserve(count); }
  void push_back(value_type value) { own().push_back(std::move(value)); }
  template <typename... Args>
  decltype(auto) emplace(Args&&... args) {
    return own().emplace(std::forward<Args>(args)...);
  }
  template <typename... Args>
  decltype(auto) insert(Args&&... args) {
    return own().insert(std::forward<Args>(args)...);
  }
  template <typename Key, typename... Args>
  auto try_emplace(Key&& key, Args&&... args) {
    return own().try_emplace(std::forward<Key>(key), std::forward<Args>(args)...);
  }
  template <typename... Args>
  decltype(auto) emplace_back(Args&&... args) {
    return own().emplace_back(std::forward<Args>(args)...);
  }
  template <typename Key>
  decltype(auto) erase(const Key& key) {
    return own().erase(key);
  }
  SharedTable& operator=(Container table) {
    table_ = std::make_shared<Container>(std::move(table));
    return *this;
  }

 private:
  static const std::shared_ptr<Container>& none() {
    static const auto* const only = new std::shared_ptr<Container>(std::make_shared<Container>());
    return *only;
  }

  Container& own() {
    if (table_.use_count() > 1) table_ = std::make_shared<Container>(*table_);
    // Whoever had it too has read it before.
    std::atomic_thread_fence(std::memory_order_acquire);
    return *table_;
  }

  std::shared_ptr<Container> table_;
};

}  // namespace weft::proxy
