package shop;

/** What providers offer and consumers call. */
public interface Orders {
    /** The provider's reply, followed by the order: who answers is seen, and that it had the question. */
    String place(String order);
}
