// Doubly linked lists whose nodes live in the listed objects: O(1) unlink, no allocation. A node that is
// destroyed leaves its list by itself. Used by timers, completions, connections and pools; never by more than
// one thread.
#pragma once

namespace weft::proxy {

// The tag lets one object be on several kinds of list at a time.
template <typename Tag = void>
class ListNode {
 public:
  ListNode() = default;
  ~ListNode() { unlink(); }
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;

  bool linked() const { return next_ != nullptr; }
  void unlink() {
    if (next_ == nullptr) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    prev_ = next_ = nullptr;
  }

 private:
  template <typename T, typename U>
  friend class IntrusiveList;
  ListNode* prev_ = nullptr;
  ListNode* next_ = nullptr;
};

// T derives from ListNode<Tag>. The list does not own.
template <typename T, typename Tag = void>
class IntrusiveList {
 public:
  IntrusiveList() { head_.prev_ = head_.next_ = &head_; }
  ~IntrusiveList() {
    while (!empty()) head_.next_->unlink();
    head_.prev_ = head_.next_ = nullptr;
  }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;

  bool empty() const { return head_.next_ == &head_; }
  // An item that is on a list, this one or another, leaves it first.
  void push_back(T& item) {
    ListNode<Tag>& node = item;
    node.unlink();
    insert(node, head_.prev_);
  }
  void push_front(T& item) {
    ListNode<Tag>& node = item;
    node.unlink();
    insert(node, &head_);
  }
  T* front() { return empty() ? nullptr : static_cast<T*>(head_.next_); }
  T* pop_front() {
    T* item = front();
    if (item != nullptr) static_cast<ListNode<Tag>*>(item)->unlink();
    return item;
  }
  T* pop_back() {
    T* item = empty() ? nullptr : static_cast<T*>(head_.prev_);
    if (item != nullptr) static_cast<ListNode<Tag>*>(item)->unlink();
    return item;
  }
  // The item after `item`; nullptr at the end.
  T* after(T& item) {
    ListNode<Tag>* next = static_cast<ListNode<Tag>&>(item).next_;
    return next == &head_ ? nullptr : static_cast<T*>(next);
  }
  // Moves everything from `other` to the end of this list.
  void splice(IntrusiveList& other) {
    if (other.empty()) return;
    other.head_.next_->prev_ = head_.prev_;
    head_.prev_->next_ = other.head_.next_;
    other.head_.prev_->next_ = &head_;
    head_.prev_ = other.head_.prev_;
    other.head_.prev_ = other.head_.next_ = &other.head_;
  }

 private:
  void insert(ListNode<Tag>& node, ListNode<Tag>* position) {
    node.prev_ = position;
    node.next_ = position->next_;
    position->next_->prev_ = &node;
    position->next_ = &node;
  }
  ListNode<Tag> head_;
};

}  // namespace weft::proxy
