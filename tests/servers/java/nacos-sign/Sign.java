import com.alibaba.nacos.api.PropertyKeyConst;
import com.alibaba.nacos.client.auth.ram.RamClientAuthServiceImpl;
import com.alibaba.nacos.plugin.auth.api.LoginIdentityContext;
import com.alibaba.nacos.plugin.auth.api.RequestResource;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;

/** Prints what the Java client adds to a request of an access key: a line KEY=VALUE each. */
public final class Sign {
    public static void main(String[] words) throws Exception {
        Map<String, String> given = new HashMap<>();
        for (String word : words) given.put(word.substring(0, word.indexOf('=')), word.substring(word.indexOf('=') + 1));

        Properties properties = new Properties();
        properties.setProperty(PropertyKeyConst.ACCESS_KEY, given.get("key"));
        properties.setProperty(PropertyKeyConst.SECRET_KEY, given.get("secret"));
        String region = given.getOrDefault("region", "");
        if (!region.isEmpty()) properties.setProperty(PropertyKeyConst.SIGNATURE_REGION_ID, region);

        boolean config = given.getOrDefault("kind", "naming").equals("config");
        RequestResource.Builder resource = config ? RequestResource.configBuilder() : RequestResource.namingBuilder();
        resource.setNamespace(given.getOrDefault("namespace", ""));
        resource.setGroup(given.getOrDefault("group", ""));
        resource.setResource(given.getOrDefault("resource", ""));

        RamClientAuthServiceImpl client = new RamClientAuthServiceImpl();
        if (!client.login(properties)) throw new IllegalStateException("the client takes no such keys");
        LoginIdentityContext added = client.getLoginIdentityContext(resource.build());
        for (String key : new TreeSet<>(added.getAllKey())) System.out.println(key + "=" + added.getParameter(key));
    }
}
