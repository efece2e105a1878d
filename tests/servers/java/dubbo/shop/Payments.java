package shop;

/** A second interface for providers of two. */
public interface Payments {
    /** As of orders. */
    String pay(String order);
}
