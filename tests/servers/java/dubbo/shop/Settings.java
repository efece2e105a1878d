package shop;

import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/** The words of a command line, each {@code key=value}. A key that nobody asks for is an error: a test would not do what it says. */
final class Settings {
    private final Map<String, String> given = new LinkedHashMap<>();
    private final Set<String> asked = new HashSet<>();

    Settings(String[] words) {
        for (String word : words) {
            int end = word.indexOf('=');
            if (end < 1) throw new IllegalArgumentException("not key=value: " + word);
            given.put(word.substring(0, end), word.substring(end + 1));
        }
    }

    String get(String key, String otherwise) {
        asked.add(key);
        return given.getOrDefault(key, otherwise);
    }

    /** The value of a key that is part of a larger one's text: {@code a=1&b=2}. */
    Map<String, String> pairs(String key) {
        Map<String, String> pairs = new HashMap<>();
        for (String pair : get(key, "").split("&")) {
            int end = pair.indexOf('=');
            if (end > 0) pairs.put(pair.substring(0, end), pair.substring(end + 1));
        }
        return pairs;
    }

    void end() {
        for (String key : given.keySet()) if (!asked.contains(key)) throw new IllegalArgumentException("unknown key: " + key);
    }
}
